package org.smpo.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.smpo.objective.Near.assertNear;

import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Values and gradients against numbers computed with 60-digit arithmetic
/// (`tools/golden/objectives.py`).
final class GoldenPairLossTest {
    /// Tolerance: far above the rounding of these cases (cancellation in Δ times a slope of at most 5e4
    /// gives 1e-11), and far below the effect of a wrong coefficient.
    private static final double TOLERANCE = 1e-9;

    private static byte[] resource(String name) throws IOException {
        try (InputStream in = GoldenPairLossTest.class.getResourceAsStream(name)) {
            return in.readAllBytes();
        }
    }

    private static JsonNode golden() throws IOException {
        return JsonMapper.shared().readTree(resource("pair_losses.json"));
    }

    record Case(Objective objective, PairInputs pair, double loss, double winnerGradient, double loserGradient) {
        /// Changes one coefficient of the objective by the given relative amount.
        Case perturbed(double relative) {
            return new Case(perturb(objective, 1 + relative), pair, loss, winnerGradient, loserGradient);
        }

        void check() {
            LossValue actual = PairLosses.loss(objective, pair);
            double slope = objective.strength() * pair.logitScale();
            // Below this scale a gradient is compared absolutely, since 1e-9 of a unit of logit slope
            // has no effect.
            double gradientScale = Math.max(1, Math.abs(slope)) * 1e-3;
            assertNear("loss", actual.value(), loss, TOLERANCE, 1e-3);
            assertNear("winner gradient", actual.winnerGradient(), winnerGradient, TOLERANCE, gradientScale);
            assertNear("loser gradient", actual.loserGradient(), loserGradient, TOLERANCE, gradientScale);
        }
    }

    static Objective perturb(Objective objective, double by) {
        return switch (objective) {
            case Smpo o -> new Smpo(o.beta() * by, o.gamma(), o.kappa());
            case Dpo o -> new Dpo(o.beta() * by, o.kappa());
            case Inpo o -> new Inpo(o.beta() * by, o.kappa(), o.eta());
            case Npo o -> new Npo(o.beta(), o.kappa() * by);
            case Dmpo o -> new Dmpo(o.beta() * by, o.kappa(), o.alpha());
            case Ipo o -> new Ipo(o.beta(), o.kappa() * by, o.margin());
            case Capo o -> new Capo(o.beta() * by, o.bias());
            case Kto o -> new Kto(o.beta() * by, o.desirableWeight(), o.undesirableWeight());
            case Mapo o -> new Mapo(o.scale() * by, o.temperature(), o.weight());
            case Hinge o -> new Hinge(o.beta() * by, o.kappa());
            case Robust o -> new Robust(o.beta() * by, o.kappa(), o.epsilon());
            case Sft o -> o;
            case Tailorpo o -> new Tailorpo(o.beta() * by);
            case Spo o -> new Spo(o.beta() * by, o.clip());
            case Selfnpo o -> new Selfnpo(o.huberC() * by);
        };
    }

    static List<Case> cases() throws IOException {
        List<Case> cases = new ArrayList<>();
        for (JsonNode c : golden().get("pair_losses")) {
            Function<String, Double> number = key -> c.get(key).asDouble();
            JsonNode e = c.get("errors");
            PairInputs pair = PairInputs.of(new PairErrors(
                    e.get(0).asDouble(),
                    e.get(1).asDouble(),
                    e.get(2).asDouble(),
                    e.get(3).asDouble()));
            Objective objective = switch (c.get("method").asString()) {
                case "smpo" -> new Smpo(number.apply("beta"), number.apply("gamma"), number.apply("kappa"));
                case "dpo" -> new Dpo(number.apply("beta"), number.apply("kappa"));
                case "inpo" -> new Inpo(number.apply("beta"), number.apply("kappa"), 0.1);
                case "npo" -> new Npo(number.apply("beta"), number.apply("kappa"));
                case "dmpo" -> new Dmpo(number.apply("beta"), number.apply("kappa"), number.apply("alpha"));
                case "ipo" -> new Ipo(number.apply("beta"), number.apply("kappa"), number.apply("margin"));
                case "capo" -> new Capo(number.apply("beta"), Double.POSITIVE_INFINITY);
                case "kto" ->
                    new Kto(number.apply("beta"), number.apply("desirable_weight"), number.apply("undesirable_weight"));
                case "mapo" -> new Mapo(number.apply("scale"), number.apply("temperature"), number.apply("weight"));
                case "sft" -> new Sft();
                default -> throw new IllegalStateException(c.toString());
            };
            if (c.has("label")) {
                pair = pair.withLabel(number.apply("label"));
            }
            if (c.has("reward_margin")) {
                pair = pair.withRewardMargin(number.apply("reward_margin"));
            }
            if (c.has("logit_scale")) {
                pair = pair.withLogitScale(number.apply("logit_scale"));
            }
            if (c.has("mean_gain")) {
                pair = pair.withMeanGain(number.apply("mean_gain"));
            }
            cases.add(new Case(
                    objective,
                    pair,
                    number.apply("loss"),
                    number.apply("winner_gradient"),
                    number.apply("loser_gradient")));
        }
        return cases;
    }

    @TestFactory
    Stream<DynamicTest> agreesWithHighPrecision() throws IOException {
        return cases().stream()
                .map(c -> DynamicTest.dynamicTest(c.objective() + " " + c.pair().errors(), c::check));
    }

    /// The comparison detects a relative error of 1e-5 in any method's coefficient, on every pair whose
    /// loss depends on it measurably.
    @Test
    void rejectsAWrongCoefficient() throws IOException {
        List<Case> first = cases().subList(0, 10);
        for (Case c : first) {
            if (c.objective() instanceof Smpo && c.pair().label() == 0.5) {
                continue; // undecided: no coefficient matters
            }
            assertThatThrownBy(() -> c.perturbed(1e-5).check())
                    .as(c.objective().name())
                    .isInstanceOf(AssertionError.class);
            assertThatThrownBy(() -> c.perturbed(-1e-5).check())
                    .as(c.objective().name())
                    .isInstanceOf(AssertionError.class);
        }
        assertThat(first.stream().map(c -> c.objective().name()).distinct())
                .containsExactlyInAnyOrder("dpo", "npo", "smpo", "dmpo", "kto", "mapo", "ipo", "capo");
    }

    @Test
    void phiOfMapoKeepsItsDigitsNearZero() throws IOException {
        for (JsonNode point : golden().get("phi")) {
            double y = point.get("y").asDouble();
            assertNear("phi(" + y + ")", PairLosses.phi(y), point.get("phi").asDouble(), 1e-14, 0);
            assertNear(
                    "phi'(" + y + ")",
                    PairLosses.phiDerivative(y),
                    point.get("derivative").asDouble(),
                    1e-14,
                    0);
        }
    }

    @Test
    void bytesAreThoseOfTheManifest() throws Exception {
        JsonNode digests =
                JsonMapper.shared().readTree(resource("manifest.json")).get("sha256");
        assertThat(digests.propertyNames()).isNotEmpty();
        for (String file : digests.propertyNames()) {
            byte[] sha256 = MessageDigest.getInstance("SHA-256").digest(resource(file));
            assertThat(HexFormat.of().formatHex(sha256))
                    .isEqualTo(digests.get(file).asString());
        }
    }
}
