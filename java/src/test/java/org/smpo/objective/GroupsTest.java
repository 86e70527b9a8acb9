package org.smpo.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.smpo.objective.Fronts.Candidate;
import org.smpo.objective.RewardEnsemble.Combination;
import org.smpo.objective.SmoothedLabel.WinnerBy;

/// Groups of scored images: calibrated scores, Pareto fronts, tournaments. The numbers are from a script in float64;
/// each definition is also checked against loops over random groups.
final class GroupsTest {
    private static final double[][] SCORES = {{1.2, 0.1}, {0.9, 0.9}, {-0.3, 1.4}, {0.2, 0.2}, {-0.8, -0.5}};
    private static final RewardEnsemble LOGITS = RewardEnsemble.of(List.of(1.0, 1.0));
    private static final RewardEnsemble WEIGHTED = new RewardEnsemble(List.of(1.0, 1.0), List.of(0.75, 0.25));

    private static void assertNear(double[] found, double... wanted) {
        assertThat(found).hasSameSizeAs(wanted);
        for (int i = 0; i < wanted.length; i++) {
            assertThat(found[i]).as("number " + i).isCloseTo(wanted[i], within(6e-13));
        }
    }

    /// Up to 12 images and 3 rewards, with equal scores among them.
    private static double[][] group(SplittableRandom random) {
        double[][] scores = new double[1 + random.nextInt(12)][1 + random.nextInt(3)];
        for (double[] image : scores) {
            Arrays.setAll(image, reward -> random.nextInt(7) / 2.0);
        }
        for (double[] image : scores) {
            assertThat(image).hasSameSizeAs(scores[0]);
        }
        return scores;
    }

    private static double[][] firstFour() {
        return Arrays.copyOf(SCORES, 4);
    }

    @Test
    void calibratedScoresAreMeanWinProbabilities() {
        double[][] calibrated = LOGITS.calibrated(SCORES);
        assertNear(calibrated[0], 0.750968162403, 0.411216913644);
        assertNear(calibrated[1], 0.676951193443, 0.634471702663);
        assertNear(calibrated[2], 0.353475185077, 0.761677655845);
        assertNear(calibrated[3], 0.488567889758, 0.439113600995);
        assertNear(calibrated[4], 0.230037569318, 0.253520126853);
        double[] mean = LOGITS.combined(Combination.CALIBRATED, SCORES);
        assertNear(mean, 0.581092538024, 0.655711448053, 0.557576420461, 0.463840745377, 0.241778848086);
        assertThat(mean[1] - mean[4]).isCloseTo(0.413932599968, within(1e-12));
        assertThat(LOGITS.calibrated(new double[][] {{3, 4}})).isDeepEqualTo(new double[][] {{0.5, 0.5}});
    }

    @Test
    void theRewardsHaveWeights() {
        assertNear(
                WEIGHTED.combined(Combination.CALIBRATED, firstFour()),
                0.614036505271,
                0.610209419888,
                0.379261943755,
                0.396492131085);
        assertNear(
                WEIGHTED.combined(Combination.STANDARDISED, firstFour()),
                0.635121118491,
                0.628344027003,
                -0.668737511267,
                -0.594727634228);
        // The worst reward decides: the minimum over the rewards of the calibrated scores.
        assertNear(
                Arrays.stream(WEIGHTED.calibrated(firstFour()))
                        .mapToDouble(row -> Math.min(row[0], row[1]))
                        .toArray(),
                0.333070449450,
                0.578567640698,
                0.263813803035,
                0.362755543937);
        double[] combined = WEIGHTED.combined(Combination.CALIBRATED, firstFour());
        double p = (1 + combined[0] - combined[2]) / 2;
        assertThat(Math.log(p / (1 - p))).isCloseTo(0.478473209875, within(1e-11));
        assertThat(RewardEnsemble.probability(Combination.CALIBRATED, combined[0] - combined[2]))
                .isEqualTo(p);
        assertThat(RewardEnsemble.probability(Combination.RAW, 1)).isEqualTo(Logistic.sigmoid(1));
        assertThat(new RewardEnsemble(List.of(1.0, 1.0), List.of(6.0, 2.0))).isEqualTo(WEIGHTED);
        RewardEnsemble other = new RewardEnsemble(List.of(0.5, 2.0), List.of(0.75, 0.25));
        assertNear(other.combined(Combination.RAW, new double[][] {{1, 4}}), 0.75 * 2 + 0.25 * 2);
    }

    /// A reward that scores all images the same has no say.
    @Test
    void aConstantRewardHasNoSay() {
        double[][] constant = {{1, 5}, {2, 5}, {0, 5}};
        double[][] calibrated = LOGITS.calibrated(constant);
        for (double[] image : calibrated) {
            assertThat(image[1]).isEqualTo(0.5);
        }
        assertThat(LOGITS.combined(Combination.STANDARDISED, constant)[0]).isEqualTo(0.0);
        assertThat(Fronts.of(constant).upper()).containsExactly(1);
    }

    @Test
    void calibratedScoresOfRandomGroupsSumToHalfTheImages() {
        SplittableRandom random = new SplittableRandom(5);
        for (int number = 0; number < 1000; number++) {
            double[][] scores = group(random);
            int rewards = scores[0].length;
            RewardEnsemble ensemble = RewardEnsemble.of(IntStream.range(0, rewards)
                    .mapToObj(j -> 0.1 + random.nextDouble())
                    .toList());
            double[][] calibrated = ensemble.calibrated(scores);
            for (int j = 0; j < rewards; j++) {
                int reward = j;
                double sum = Arrays.stream(calibrated)
                        .mapToDouble(row -> row[reward])
                        .sum();
                assertThat(sum).isCloseTo(scores.length / 2.0, within(1e-12));
                double temperature = ensemble.temperatures().get(j);
                for (int i = 0; i < scores.length; i++) {
                    double mean = 0;
                    for (int k = 0; k < scores.length; k++) {
                        mean += k == i
                                ? 0
                                : 1 / (1 + Math.exp((scores[k][j] - scores[i][j]) / temperature)) / (scores.length - 1);
                    }
                    assertThat(calibrated[i][j]).isCloseTo(scores.length == 1 ? 0.5 : mean, within(1e-12));
                }
            }
            // Another temperature changes the numbers, not the order of the images by one reward.
            double[][] colder = RewardEnsemble.of(
                            ensemble.temperatures().stream().map(t -> t / 3).toList())
                    .calibrated(scores);
            for (int i = 0; i < scores.length; i++) {
                for (int k = 0; k < scores.length; k++) {
                    assertThat(Math.signum(colder[i][0] - colder[k][0]))
                            .isEqualTo(Math.signum(scores[i][0] - scores[k][0]));
                }
            }
        }
    }

    @Test
    void frontsOfKnownGroups() {
        Fronts fronts = Fronts.of(SCORES);
        assertThat(fronts.upper()).containsExactly(0, 1, 2);
        assertThat(fronts.lower()).containsExactly(4);
        double[] mean = LOGITS.combined(Combination.CALIBRATED, SCORES);
        assertThat(fronts.pairs(mean)).containsExactly(new Candidate(0, 4), new Candidate(1, 4), new Candidate(2, 4));
        double[][] incomparable = {{0.9, 0.1}, {0.1, 0.9}, {0.5, 0.5}};
        assertThat(Fronts.of(incomparable)).isEqualTo(new Fronts(List.of(0, 1, 2), List.of(0, 1, 2)));
        assertThat(Fronts.of(incomparable).pairs(new double[] {1, 2, 3})).isEmpty();
        assertThat(Fronts.of(new double[][] {{1, 1}, {1, 1}, {0, 0}})).isEqualTo(new Fronts(List.of(0, 1), List.of(2)));
        assertThat(Fronts.of(new double[][] {{1, 1}, {1, 1}})).isEqualTo(new Fronts(List.of(0, 1), List.of(0, 1)));
        assertThat(Fronts.of(new double[][] {{2, 2}, {1, 1}, {0, 0}})).isEqualTo(new Fronts(List.of(0), List.of(2)));
        assertThat(Fronts.of(new double[][] {{2}})).isEqualTo(new Fronts(List.of(0), List.of(0)));
    }

    @Test
    void frontsOfRandomGroupsAreTheirDefinition() {
        SplittableRandom random = new SplittableRandom(6);
        int withPairs = 0;
        for (int number = 0; number < 1000; number++) {
            double[][] scores = group(random);
            List<Integer> upper = new ArrayList<>();
            List<Integer> lower = new ArrayList<>();
            for (int i = 0; i < scores.length; i++) {
                boolean dominated = false;
                boolean dominates = false;
                for (double[] other : scores) {
                    boolean below = true;
                    boolean above = true;
                    boolean same = true;
                    for (int j = 0; j < other.length; j++) {
                        below &= scores[i][j] <= other[j];
                        above &= scores[i][j] >= other[j];
                        same &= scores[i][j] == other[j];
                    }
                    dominated |= below && !same;
                    dominates |= above && !same;
                }
                if (!dominated) {
                    upper.add(i);
                }
                if (!dominates) {
                    lower.add(i);
                }
            }
            assertThat(Fronts.of(scores)).isEqualTo(new Fronts(upper, lower));
            double[] combined = Arrays.stream(scores)
                    .mapToDouble(row -> Arrays.stream(row).sum())
                    .toArray();
            List<Candidate> pairs = Fronts.of(scores).pairs(combined);
            for (Candidate pair : pairs) {
                assertThat(upper).contains(pair.winner()).doesNotContain(pair.loser());
                assertThat(lower).contains(pair.loser()).doesNotContain(pair.winner());
                assertThat(combined[pair.winner()]).isGreaterThan(combined[pair.loser()]);
            }
            withPairs += pairs.isEmpty() ? 0 : 1;
            if (scores[0].length == 1 && scores.length > 1) {
                // One reward: the best against the worst.
                double best = Arrays.stream(combined).max().orElseThrow();
                double worst = Arrays.stream(combined).min().orElseThrow();
                assertThat(pairs.isEmpty()).isEqualTo(best == worst);
                assertThat(pairs).allMatch(pair -> combined[pair.winner()] == best && combined[pair.loser()] == worst);
            }
        }
        assertThat(withPairs).isBetween(500, 999);
    }

    private static Tournament played(double[] strength, int... order) {
        Tournament tournament = new Tournament(order);
        while (!tournament.isOver()) {
            tournament.decide(Logistic.sigmoid(strength[tournament.challenger()] - strength[tournament.champion()]));
        }
        return tournament;
    }

    @Test
    void aTournamentOfFive() {
        double[] strength = {0.2, 0.9, -0.4, 1.3, 0.9};
        Tournament tournament = played(strength, 0, 1, 2, 3, 4);
        assertThat(tournament.champion()).isEqualTo(3);
        assertThat(tournament.comparisons())
                .extracting(Tournament.Comparison::incumbent)
                .containsExactly(0, 1, 1, 3);
        assertNear(
                tournament.comparisons().stream()
                        .mapToDouble(comparison -> Math.rint(comparison.probability() * 1e9) / 1e9)
                        .toArray(),
                0.668187772,
                0.214165017,
                0.59868766,
                0.40131234);
        // A tie of 1 and 4 keeps the incumbent.
        Tournament other = played(strength, 1, 4, 0, 3, 2);
        assertThat(other.comparisons().getFirst()).isEqualTo(new Tournament.Comparison(1, 4, 0.5));
        assertThat(other.comparisons().get(1).incumbent()).isEqualTo(1);
        assertThat(other.champion()).isEqualTo(3);
        assertThat(new Tournament(7).isOver()).isTrue();
        assertThat(new Tournament(7).champion()).isEqualTo(7);
        assertThatThrownBy(() -> new Tournament(1, 2).decide(Double.NaN))
                .isInstanceOf(InvalidParameterException.class)
                .hasMessage("tournament: probability: expected a number in [0, 1], got NaN");
        assertThatThrownBy(() -> new Tournament(1).challenger()).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(Tournament::new).isInstanceOf(IllegalArgumentException.class);
    }

    /// Whatever the order, the strongest wins if the judge goes by strength.
    @Test
    void theChampionOfARandomTournamentIsTheStrongest() {
        SplittableRandom random = new SplittableRandom(7);
        for (int number = 0; number < 1000; number++) {
            int images = 1 + random.nextInt(12);
            double[] strength = random.doubles(images).toArray();
            List<Integer> order =
                    new ArrayList<>(IntStream.range(0, images).boxed().toList());
            for (int i = images - 1; i > 0; i--) {
                java.util.Collections.swap(order, i, random.nextInt(i + 1));
            }
            Tournament tournament =
                    played(strength, order.stream().mapToInt(Integer::intValue).toArray());
            assertThat(strength[tournament.champion()])
                    .isEqualTo(Arrays.stream(strength).max().orElseThrow());
            assertThat(tournament.comparisons()).hasSize(images - 1);
        }
    }

    @Test
    void aTypicalTemperatureIsTheMedianDeviation() {
        List<double[]> groups = List.of(
                new double[] {0, 2}, new double[] {0, 4}, new double[] {5}, new double[] {0, 20}, new double[] {1, 1});
        assertThat(RewardEnsemble.typicalTemperature(groups)).isEqualTo(1.5);
        assertThat(RewardEnsemble.typicalTemperature(List.of(new double[] {1, 1}, new double[] {3})))
                .isEqualTo(1.0);
        assertThatThrownBy(() -> RewardEnsemble.typicalTemperature(
                        List.of(new double[] {1, 1}, new double[] {2, 2}, new double[] {0, 1})))
                .hasMessageContaining("give the reward a temperature");
    }

    @Test
    void votesGiveAProbability() {
        assertThat(SmoothedLabel.ofVotes(2, 0, 1).orElseThrow().probability()).isEqualTo(0.75);
        assertThat(SmoothedLabel.ofVotes(3, 1, 1).orElseThrow().probability()).isCloseTo(2.0 / 3, within(1e-15));
        assertThat(SmoothedLabel.ofVotes(4, 0, 0.5).orElseThrow().probability()).isCloseTo(0.9, within(1e-15));
        assertThat(SmoothedLabel.ofVotes(0, 1, 1).orElseThrow().probability()).isCloseTo(2.0 / 3, within(1e-15));
        assertThat(SmoothedLabel.ofVotes(0, 1, 1).orElseThrow().winner()).isEqualTo(1);
    }

    @Test
    void whatIsOutOfRangeIsNamed() {
        assertThatThrownBy(() -> RewardEnsemble.of(List.of()))
                .hasMessageContaining("expected as many weights as temperatures and at least one");
        assertThatThrownBy(() -> RewardEnsemble.of(List.of(0.0)))
                .hasMessage("ensemble: temperature: expected a finite number > 0, got 0.0");
        assertThatThrownBy(() -> new RewardEnsemble(List.of(1.0), List.of(-1.0)))
                .hasMessage("ensemble: weight: expected a finite number >= 0, got -1.0");
        assertThatThrownBy(() -> new RewardEnsemble(List.of(1.0), List.of(0.0)))
                .hasMessage("ensemble: sum of weights: expected a finite number > 0, got 0.0");
        assertThatThrownBy(() -> LOGITS.probability(new double[] {1, Double.NaN}, new double[] {1, 1}))
                .hasMessage("ensemble: score: expected a finite number, got NaN");
        assertThatThrownBy(() -> LOGITS.probability(new double[] {1}, new double[] {1, 1}))
                .hasMessage("ensemble: expected 2 scores of an image, got 1");
        assertThatThrownBy(() ->
                        LOGITS.label(new double[] {1, 1}, new double[] {0, 0}, HumanChoice.UNKNOWN, WinnerBy.HUMAN))
                .hasMessageContaining("winner by people");
    }
}
