package org.smpo.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.StreamSupport;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.smpo.objective.LogisticFit.Group;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Linear heads: against torch's LBFGS and scikit-learn (`tools/golden/heads.py`), against a script in
/// float64, and against the definition of a minimum.
final class LogisticFitTest {
    private static final Offset<Double> CLOSE = within(1e-8);

    private static final double[][] FIRST = {{1.0, 0.2}, {0.8, -0.1}, {1.3, 0.5}};
    private static final double[][] SECOND = {{-0.2, 0.4}, {0.1, -0.6}, {0.4, 0.1}};

    private static JsonNode golden(String part) throws IOException {
        try (InputStream in = LogisticFitTest.class.getResourceAsStream("heads/heads.json")) {
            return JsonMapper.shared().readTree(in.readAllBytes()).get(part);
        }
    }

    private static double[] vector(JsonNode node) {
        return StreamSupport.stream(node.spliterator(), false)
                .mapToDouble(JsonNode::asDouble)
                .toArray();
    }

    private static double[][] matrix(JsonNode node) {
        return StreamSupport.stream(node.spliterator(), false)
                .map(LogisticFitTest::vector)
                .toArray(double[][]::new);
    }

    private static Group group(double weight, JsonNode node) {
        return Group.ofPairs(weight, vector(node.get("offsets")), matrix(node.get("rows")));
    }

    @Test
    void aHeadOnPairsIsTorchs() throws IOException {
        JsonNode pairs = golden("pairs");
        double weight = pairs.get("weight").asDouble();
        double l2 = pairs.get("l2").asDouble();
        LogisticFit fit =
                LogisticFit.ofPairs(List.of(group(1, pairs.get("human")), group(weight, pairs.get("game"))), l2);
        assertThat(fit.weights()).containsExactly(vector(pairs.get("head")), CLOSE);
        assertThat(fit.loss()).isCloseTo(pairs.get("loss").asDouble(), within(1e-14));
        assertThat(fit.intercept()).isZero();
        LogisticFit heavier =
                LogisticFit.ofPairs(List.of(group(1, pairs.get("human")), group(1.01 * weight, pairs.get("game"))), l2);
        assertThat(Math.abs(heavier.weights()[0] - fit.weights()[0])).isGreaterThan(1e-6);
    }

    @Test
    void aClassifierIsScikitLearns() throws IOException {
        JsonNode classes = golden("classes");
        double[][] first = matrix(classes.get("first"));
        double[][] second = matrix(classes.get("second"));
        LogisticFit fit = LogisticFit.ofClasses(first, second, classes.get("l2").asDouble());
        assertThat(fit.weights()).containsExactly(vector(classes.get("head")), within(1e-7));
        assertThat(fit.intercept()).isCloseTo(classes.get("intercept").asDouble(), within(1e-6));
        double[] probabilities = vector(classes.get("probabilities"));
        for (int i = 0; i < first.length; i++) {
            assertThat(Logistic.sigmoid(fit.logit(first[i]))).isCloseTo(probabilities[i], within(1e-7));
        }
    }

    @Test
    void smallFitsHaveTheNumbersOfTheScript() {
        LogisticFit classes = LogisticFit.ofClasses(FIRST, SECOND, 0.1);
        assertThat(classes.weights()).containsExactly(new double[] {1.410570782614, 0.286580456601}, CLOSE);
        assertThat(classes.intercept()).isCloseTo(-0.820722362441, CLOSE);
        assertThat(Logistic.sigmoid(classes.logit(FIRST[0]))).isCloseTo(0.656371207650, CLOSE);
        assertThat(Logistic.sigmoid(classes.logit(SECOND[2]))).isCloseTo(0.443286118309, CLOSE);

        Group human =
                Group.ofPairs(1, new double[] {0.6, -0.3, 0.1}, new double[][] {{0.5, -0.2}, {0.3, 0.4}, {-0.1, 0.6}});
        Group game = Group.ofPairs(0.1, new double[] {-0.2, 0.4}, new double[][] {{0.1, 0.9}, {-0.4, 0.7}});
        LogisticFit pairs = LogisticFit.ofPairs(List.of(human, game), 0.05);
        assertThat(pairs.weights()).containsExactly(new double[] {1.322358019286, 1.799404777713}, CLOSE);
        assertThat(pairs.initialLoss()).isCloseTo(0.710970991098, within(1e-12));
        assertThat(pairs.loss()).isCloseTo(0.484104306109, within(1e-12));
        double[] logits = {0.901298054100, 0.816469316871, 1.047407064699};
        for (int i = 0; i < logits.length; i++) {
            assertThat(human.offsets()[i] + pairs.logit(human.rows()[i])).isCloseTo(logits[i], CLOSE);
        }
    }

    @Test
    void humanPairsAndTheGameHaveMeansOfTheirOwn() {
        double[] leads = {1.0 - 0.4, 0.2 - 0.5};
        double[] game = {1.1 - 0.3, 1.1 - 0.9, 1.1 - 1.4, 1.1 + 0.2};
        LogisticFit fit = LogisticFit.ofPairs(
                List.of(Group.ofPairs(1, leads, new double[2][1]), Group.ofPairs(0.1, game, new double[4][1])), 1);
        assertThat(fit.loss()).isCloseTo(0.697536678318, within(1e-12));
        assertThat(fit.weights()).containsExactly(0.0);
    }

    /// Features as wide and as lopsided as those of a CLIP model, whose embeddings share a direction.
    private static double[][] embeddings(SplittableRandom random, int count, int width, double shift) {
        double[][] rows = new double[count][width];
        for (double[] row : rows) {
            double norm = 0;
            for (int i = 0; i < width; i++) {
                row[i] = random.nextGaussian() + 3 * Math.sin(i) + (i == 5 ? shift : 0);
                norm += row[i] * row[i];
            }
            for (int i = 0; i < width; i++) {
                row[i] *= Math.sqrt(width / norm);
            }
        }
        return rows;
    }

    @Test
    void aWideClassifierConvergesToAPointWithoutSlope() {
        SplittableRandom random = new SplittableRandom(3);
        int width = 512;
        double[][] first = embeddings(random, 300, width, 1);
        double[][] second = embeddings(random, 200, width, -1);
        LogisticFit fit = LogisticFit.ofClasses(first, second, 1e-3);
        double[] slope = new double[width];
        double interceptSlope = 0;
        for (int group = 0; group < 2; group++) {
            double[][] rows = group == 0 ? first : second;
            for (double[] row : rows) {
                double sign = group == 0 ? 1 : -1;
                double change = -sign * 0.5 / rows.length * Logistic.sigmoid(-sign * fit.logit(row));
                interceptSlope += change;
                for (int i = 0; i < width; i++) {
                    slope[i] += change * row[i];
                }
            }
        }
        for (int i = 0; i < width; i++) {
            assertThat(slope[i] + 1e-3 * fit.weights()[i]).isCloseTo(0, within(1e-7));
        }
        assertThat(interceptSlope).isCloseTo(0, within(1e-8));
        assertThat(fit.iterations()).isLessThan(250);
        LogisticFit again = LogisticFit.ofClasses(first, second, 1e-3);
        assertThat(again.weights()).containsExactly(fit.weights());
    }

    @Test
    void aFitThatDoesNotConvergeFails() {
        double[][] rows = {{1e200, 1}, {-1e199, 1}};
        assertThatThrownBy(() -> LogisticFit.ofPairs(List.of(Group.ofPairs(1, new double[2], rows)), 1e-3))
                .isInstanceOf(ArithmeticException.class)
                .hasMessageContaining("logistic fit: expected a minimum within 500 iterations, found a slope of")
                .hasMessageContaining("use a larger L2 penalty than 0.001");
    }

    @Test
    void wrongArgumentsAreRefused() {
        Group one = Group.ofPairs(1, new double[1], new double[][] {{1, 2}});
        assertThatThrownBy(() -> LogisticFit.ofPairs(List.of(one), 0)).hasMessageContaining("l2");
        assertThatThrownBy(() -> LogisticFit.ofPairs(List.of(), 1)).hasMessageContaining("got none");
        Group other = Group.ofPairs(1, new double[1], new double[][] {{1}});
        assertThatThrownBy(() -> LogisticFit.ofPairs(List.of(one, other), 1)).hasMessageContaining("got 2 and 1");
        assertThatThrownBy(() -> Group.ofPairs(1, new double[0], new double[0][]))
                .hasMessageContaining("0 rows");
        assertThatThrownBy(() -> Group.ofPairs(1, new double[2], new double[][] {{1}, {1, 2}}))
                .hasMessageContaining("row 1: expected 1 features as in row 0, got 2");
        assertThatThrownBy(() -> Group.ofPairs(1, new double[] {Double.NaN}, new double[1][1]))
                .hasMessageContaining("offset 0");
        assertThatThrownBy(() -> LogisticFit.ofPairs(List.of(one), 1).logit(new double[3]))
                .hasMessageContaining("expected 2 features, got 3");
    }

    @Test
    void theBestTemperatureIsThatOfTheLikelihood() throws IOException {
        double[] leads = {0.9, 0.2, -0.1, 1.5, 0.4, -0.6};
        PairAccuracy accuracy = PairAccuracy.of(leads);
        assertThat(accuracy.temperature().orElseThrow()).isCloseTo(0.596058892289, within(1e-12));
        assertThat(accuracy.nats()).isCloseTo(0.554694181229, within(1e-12));
        assertThat(PairAccuracy.nats(leads, 1)).isCloseTo(0.572600980843, within(1e-12));
        assertThat(accuracy.accuracy()).isEqualTo(4 / 6.0);

        JsonNode many = golden("temperature");
        PairAccuracy of = PairAccuracy.of(vector(many.get("differences")));
        assertThat(1 / of.temperature().orElseThrow())
                .isCloseTo(many.get("slope").asDouble(), within(1e-10));
        assertThat(of.nats()).isCloseTo(many.get("loss").asDouble(), within(1e-14));
    }

    @Test
    void someLeadsHaveNoBestTemperature() {
        PairAccuracy against = PairAccuracy.of(new double[] {-1, 0.5, 0});
        assertThat(against.temperature()).isEmpty();
        assertThat(against.nats()).isEqualTo(Math.log(2));
        assertThat(against.accuracy()).isEqualTo(0.5);
        PairAccuracy perfect = PairAccuracy.of(new double[] {1, 0.5});
        assertThat(perfect.temperature()).isEmpty();
        assertThat(perfect.nats()).isZero();
        assertThatThrownBy(() -> PairAccuracy.of(new double[0])).hasMessageContaining("got none");
    }

    /// Pairs whose first feature says what people prefer and whose second tells gold from generated
    /// images.
    private static GuardedFit.Pairs pairs(SplittableRandom random, int count, double second) {
        double[] offsets = new double[count];
        double[][] differences = new double[count][];
        for (int i = 0; i < count; i++) {
            double noise = random.nextGaussian();
            offsets[i] = 0.5 * random.nextGaussian() + 0.6;
            differences[i] = new double[] {noise, second == 0 ? 30 * random.nextGaussian() : second};
        }
        return new GuardedFit.Pairs(offsets, differences);
    }

    @Test
    void aGameThatTeachesNothingOfPeopleIsLeftOut() {
        SplittableRandom random = new SplittableRandom(11);
        GuardedFit.Pairs human = pairs(random, 200, 0);
        GuardedFit.Pairs held = pairs(random, 200, 0);
        GuardedFit.Pairs game = pairs(random, 100, 1);
        Arrays.fill(game.offsets(), -5);
        GuardedFit fit = GuardedFit.of(human, held, Optional.of(game), 1000, 1e-3, 0.01);
        assertThat(fit.gameWeight()).isZero();
        assertThat(fit.refits()).isEqualTo(6);
        assertThat(fit.warning(1000).orElseThrow()).contains("the game is left out");
        assertThat(fit.heldOut().accuracy()).isCloseTo(fit.base().accuracy(), within(0.05));
        GuardedFit without = GuardedFit.of(human, held, Optional.empty(), 1000, 1e-3, 0.01);
        assertThat(fit.fit().weights()).containsExactly(without.fit().weights());
        assertThat(without.game()).isEmpty();
        assertThat(without.warning(1000)).isEmpty();
    }

    @Test
    void aGameThatHarmsNobodyKeepsItsWeight() {
        SplittableRandom random = new SplittableRandom(12);
        GuardedFit.Pairs human = pairs(random, 200, 0);
        GuardedFit fit =
                GuardedFit.of(human, pairs(random, 200, 0), Optional.of(pairs(random, 100, 1)), 0.1, 1e-1, 0.05);
        assertThat(fit.gameWeight()).isEqualTo(0.1);
        assertThat(fit.refits()).isZero();
        assertThat(fit.warning(0.1)).isEmpty();
        assertThat(fit.game().orElseThrow().pairs()).isEqualTo(100);
    }

    @Test
    void theGuardHalvesTheWeightUntilTheHeadIsGoodEnough() {
        SplittableRandom random = new SplittableRandom(11);
        GuardedFit.Pairs human = pairs(random, 200, 0);
        GuardedFit.Pairs held = pairs(random, 200, 0);
        GuardedFit.Pairs game = pairs(random, 100, 1);
        Arrays.fill(game.offsets(), -0.5);
        GuardedFit fit = GuardedFit.of(human, held, Optional.of(game), 8, 1e-2, 0.03);
        assertThat(fit.refits()).isBetween(1, 5);
        assertThat(fit.gameWeight()).isEqualTo(8 * Math.pow(0.5, fit.refits()));
        assertThat(fit.warning(8).orElseThrow()).contains("its weight is now " + fit.gameWeight());
    }
}
