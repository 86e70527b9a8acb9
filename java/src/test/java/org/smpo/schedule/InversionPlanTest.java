package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.smpo.schedule.Inversion.Renoise;
import org.smpo.schedule.Inversion.Semantics;
import tools.jackson.databind.JsonNode;

class InversionPlanTest {
    private static final NoiseSchedule SD15 = NoiseSchedule.stableDiffusion();

    private static InversionPlan plan(Inversion inversion, int... timesteps) {
        return InversionPlan.of(SD15, inversion, timesteps);
    }

    private static int[] everyTimestep() {
        return IntStream.range(0, 1000).toArray();
    }

    /// Number of steps and end level for t, derived by hand from diffusers 0.20 and 0.22. -1 stands for
    /// x0.
    @ParameterizedTest
    @CsvSource({
        // t, then steps and end for n=5 V020, n=5 V022, n=10 V020, n=10 V022
        "0,   1, 1,   0, -1,  1, 1,    0, -1",
        "1,   1, 1,   0, -1,  1, 1,    0, -1",
        "2,   2, 201, 1, 1,   2, 101,  1, 1",
        "150, 2, 201, 1, 1,   3, 201,  2, 101",
        "201, 2, 201, 1, 1,   3, 201,  2, 101",
        "500, 4, 601, 3, 401, 6, 501,  5, 401",
        "602, 5, 801, 4, 601, 8, 701,  7, 601",
        "999, 5, 801, 5, 801, 10, 901, 10, 901",
    })
    void rowsStopWhereTheReleasedCodeStops(
            int t, int old5, int oldEnd5, int new5, int newEnd5, int old10, int oldEnd10, int new10, int newEnd10) {
        int[][] expected = {{old5, oldEnd5}, {new5, newEnd5}, {old10, oldEnd10}, {new10, newEnd10}};
        Inversion[] inversions = {
            Inversion.of(Semantics.V020, 5),
            Inversion.of(Semantics.V022, 5),
            Inversion.of(Semantics.V020, 10),
            Inversion.of(Semantics.V022, 10)
        };
        for (int i = 0; i < inversions.length; i++) {
            InversionPlan plan = plan(inversions[i], t);
            assertThat(new int[] {plan.steps(0), plan.endTimestep(0)})
                    .as(inversions[i].toString())
                    .isEqualTo(expected[i]);
        }
        assertThat(plan(Inversion.of(Semantics.EXACT, 5), t).endTimestep(0)).isEqualTo(t);
    }

    /// Source, destination, A and B of the grid of V020; the grid of V022 has the same level changes.
    private static final double[][] COEFFICIENTS_5 = {
        {-199, 1, .999572559, .012136900},
        {1, 201, .868001855, .462021564},
        {201, 401, .749823471, .386382039},
        {401, 601, .614754005, .449597021},
        {601, 801, .478203025, .543228462},
    };

    private static final double[][] COEFFICIENTS_10 = {
        {-99, 1, .999572559, .012136900},
        {1, 101, .945782612, .288097146},
        {101, 201, .917760429, .197617404},
        {201, 301, .884790546, .200739468},
        {301, 401, .847458728, .216263624},
        {401, 501, .806410650, .238853291},
        {501, 601, .762333689, .267511111},
        {601, 701, .715938203, .301926735},
        {701, 801, .667938969, .341559830},
        {801, 901, .619037461, .385352518},
    };

    /// Whether values agree within half a unit of the last printed digit, plus rounding.
    private static boolean printed(double got, double want) {
        return Math.abs(got - want) <= 5.1e-10;
    }

    @Test
    void coefficientsAreThoseOfTheDerivation() {
        for (double[][] table : new double[][][] {COEFFICIENTS_5, COEFFICIENTS_10}) {
            int n = table.length;
            InversionPlan old = plan(Inversion.of(Semantics.V020, n), 999);
            InversionPlan recent = plan(Inversion.of(Semantics.V022, n), 999);
            InversionPlan exact = plan(Inversion.of(Semantics.EXACT, n), 999);
            assertThat(old.steps()).isEqualTo(n);
            assertThat(exact.steps()).isEqualTo(n + 1);
            for (int k = 0; k < n; k++) {
                assertThat(old.timestep(k)).isEqualTo((int) table[k][0]);
                assertThat(recent.timestep(k)).isEqualTo((int) table[k][1]);
                assertThat(exact.timestep(k)).isEqualTo((int) table[k][1]);
                for (InversionPlan plan : List.of(old, recent, exact)) {
                    assertThat(printed(plan.sampleCoefficient(k), table[k][2])).isTrue();
                    assertThat(printed(plan.outputCoefficient(k), table[k][3])).isTrue();
                    assertThat(printed(plan.sampleCoefficient(k) + 1e-5, table[k][2]))
                            .isFalse();
                    assertThat(printed(plan.outputCoefficient(k) + 1e-5, table[k][3]))
                            .isFalse();
                    assertThat(printed(plan.outputCoefficient(k) * (1 - 1e-5), table[k][3]))
                            .isFalse();
                }
            }
        }
    }

    /// Mean number of steps, and mean distance of the end level from t, for uniform t.
    @ParameterizedTest
    @CsvSource({"V020, 5, 3.79, 99", "V022, 5, 2.99, 100", "V020, 10, 6.38, 49", "V022, 10, 5.48, 50"})
    void costAndMismatchAreThoseOfTheDerivation(Semantics semantics, int n, double steps, double distance) {
        InversionPlan plan = plan(Inversion.of(semantics, n), everyTimestep());
        assertThat(Math.abs(plan.steps() / 1000.0 - steps)).isLessThanOrEqualTo(0.005);
        assertThat(plan.evaluations()).isEqualTo(2 * plan.steps());
        double mean = IntStream.range(0, 1000)
                .map(t -> Math.abs(Math.max(plan.endTimestep(t), 0) - t))
                .average()
                .orElseThrow();
        assertThat(Math.abs(mean - distance)).isLessThan(0.5);
    }

    static List<JsonNode> newRuns() {
        return Golden.cases("inversions_v022.json");
    }

    static List<JsonNode> oldRuns() {
        return Golden.cases("inversions_v020.json");
    }

    /// Tolerance: a few dozen roundings per step.
    private static double tolerance(int steps) {
        return 64 * steps * 0x1p-53;
    }

    private static void assertRuns(NoiseSchedule schedule, Semantics semantics, JsonNode golden) {
        int n = golden.get("steps").asInt();
        int[] grid = Golden.ints(golden.get("timesteps"));
        for (Renoise renoise : new Renoise[] {Renoise.NONE, Renoise.EVERY_STEP}) {
            Inversion inversion = new Inversion(semantics, n, schedule.timestepSpacing(), renoise, 0);
            double[] levels = Golden.doubles(golden.get(renoise == Renoise.NONE ? "none" : "every_step"));
            // All training timesteps in one batch: a row is the full run up to its own depth.
            InversionPlan plan = InversionPlan.of(schedule, inversion, everyTimestep());
            for (int t = 0; t < 1000; t++) {
                int bound = t;
                int depth = (int) Arrays.stream(grid).filter(s -> s < bound).count();
                assertThat(plan.steps(t)).isEqualTo(depth);
                for (int k = 0; k < depth; k++) {
                    assertThat(plan.timestep(plan.rowStart(t) + k)).isEqualTo(grid[k]);
                }
                double[] want = Arrays.copyOf(levels, depth);
                Golden.assertClose(ToyModel.invert(plan, t, 0.8), want, tolerance(n), inversion + " to " + t);
            }
            for (int mutated = 0; mutated < plan.steps(999); mutated++) {
                double[] want = Arrays.copyOf(levels, plan.steps(999));
                assertThat(Golden.close(ToyModel.invert(plan, 999, 0.8, mutated), want, tolerance(n)))
                        .as("a coefficient off by 1e-5 passes, " + inversion)
                        .isFalse();
            }
        }
    }

    @ParameterizedTest
    @MethodSource("newRuns")
    void v022RunsAsDiffusersDoes(JsonNode golden) {
        NoiseSchedule schedule = NoiseSchedule.fromConfig(Golden.config(golden.get("config")));
        assertRuns(schedule, Semantics.V022, golden);

        // Unmodified diffusers with float32 tables: a product of 1000 factors has an error of at most
        // 1000 roundings.
        double[] levels = Golden.doubles(golden.get("every_step"));
        double[] single = {golden.get("every_step_float32").asDouble()};
        Golden.assertClose(new double[] {levels[levels.length - 1]}, single, 1000 * 0x1p-24, "float32 tables");
    }

    @ParameterizedTest
    @MethodSource("oldRuns")
    void v020FollowsItsDerivation(JsonNode golden) {
        boolean epsilon = golden.get("prediction_type").asString().equals("epsilon");
        boolean leading = golden.get("timestep_spacing").asString().equals("leading");
        NoiseSchedule schedule = SD15.withPredictionType(epsilon ? PredictionType.EPSILON : PredictionType.V_PREDICTION)
                .withTimestepSpacing(leading ? TimestepSpacing.LEADING : TimestepSpacing.TRAILING);
        assertRuns(schedule, Semantics.V020, golden);
    }

    /// Output of a UNet that knows the noise, for latents at level `alpha`.
    private static double knownOutput(PredictionType type, double alpha, double clean, double noise) {
        return switch (type) {
            case EPSILON -> noise;
            case V_PREDICTION -> Math.sqrt(alpha) * noise - Math.sqrt(1 - alpha) * clean;
            case SAMPLE -> clean;
        };
    }

    /// With a UNet that knows the noise, every row ends exactly at its stated level, and the target
    /// from level t is that UNet's output there. This holds for all semantics, so the test repeats no
    /// formula of the plan.
    @ParameterizedTest
    @EnumSource(PredictionType.class)
    void rowsEndAtTheirLevelAndTargetsLeadBack(PredictionType type) {
        double clean = 0.6;
        double noise = -1.3;
        NoiseSchedule schedule = SD15.withPredictionType(type);
        for (Semantics semantics : Semantics.values()) {
            for (int n : new int[] {1, 5, 10}) {
                for (TimestepSpacing spacing :
                        new TimestepSpacing[] {TimestepSpacing.LEADING, TimestepSpacing.TRAILING}) {
                    Inversion inversion = Inversion.of(semantics, n).withSpacing(spacing);
                    InversionPlan plan = InversionPlan.of(schedule, inversion, everyTimestep());
                    for (int t = 0; t < 1000; t++) {
                        double alpha = schedule.alphaInit();
                        double x = Math.sqrt(alpha) * clean + Math.sqrt(1 - alpha) * noise;
                        for (int k = plan.rowStart(t); k < plan.rowStart(t + 1); k++) {
                            double out = knownOutput(type, alpha, clean, noise);
                            x = plan.sampleCoefficient(k) * x + plan.outputCoefficient(k) * out;
                            int end = semantics == Semantics.V020 ? plan.timestep(k) + 1000 / n : plan.timestep(k);
                            alpha = schedule.alphaCumprod(end);
                        }
                        int end = plan.endTimestep(t);
                        double endAlpha = end < 0 ? schedule.alphaInit() : schedule.alphaCumprod(end);
                        double want = Math.sqrt(endAlpha) * clean + Math.sqrt(1 - endAlpha) * noise;
                        assertThat(Math.abs(x - want))
                                .as(inversion + " to " + t)
                                .isLessThan(tolerance(n + 1));

                        double atT = schedule.alphaCumprod(t);
                        double level = Math.sqrt(atT) * clean + Math.sqrt(1 - atT) * noise;
                        double target =
                                plan.targetSampleCoefficient(t) * level + plan.targetCleanCoefficient(t) * clean;
                        // 1 / sqrt(1 - alpha) is 34 at t = 0 and amplifies the roundings.
                        assertThat(Math.abs(target - knownOutput(type, atT, clean, noise)))
                                .isLessThan(34 * tolerance(1));
                    }
                }
            }
        }
    }

    @Test
    void exactRowsTakeTheGridBelowAndThenTheirOwnTimestep() {
        InversionPlan plan = plan(Inversion.of(Semantics.EXACT, 5), 0, 1, 2, 201, 202, 999);
        assertThat(plan.rowStarts()).containsExactly(0, 1, 2, 4, 6, 9, 15);
        assertThat(plan.timesteps()).containsExactly(0, 1, 1, 2, 1, 201, 1, 201, 202, 1, 201, 401, 601, 801, 999);
        // At t = 0 clean latents are already at their level, that of timestep 0.
        assertThat(plan.sampleCoefficient(0)).isEqualTo(1);
        assertThat(plan.outputCoefficient(0)).isEqualTo(0);
        InversionPlan toOne =
                InversionPlan.of(SD15.withSetAlphaToOne(true), Inversion.of(Semantics.EXACT, 5), new int[] {0});
        assertThat(Math.abs(toOne.sampleCoefficient(0) - Math.sqrt(SD15.alphaCumprod(0))))
                .isLessThan(0x1p-52);
        assertThat(Math.abs(toOne.outputCoefficient(0) - Math.sqrt(1 - SD15.alphaCumprod(0))))
                .isLessThan(0x1p-52);
    }

    @Test
    void renoiseSaysWhichStepsAverage() {
        int[] timesteps = {0, 500, 999};
        Inversion inversion = Inversion.of(Semantics.V022, 5);
        assertThat(plan(inversion, timesteps).averages())
                .containsExactly(true, true, true, true, true, true, true, true);
        InversionPlan last = plan(inversion.withRenoise(Renoise.LAST_STEP), timesteps);
        assertThat(last.averages()).containsExactly(false, false, true, false, false, false, false, true);
        assertThat(last.evaluations()).isEqualTo(10);
        InversionPlan none = plan(inversion.withRenoise(Renoise.NONE), timesteps);
        assertThat(none.averages()).containsOnly(false);
        assertThat(none.evaluations()).isEqualTo(8);
    }

    /// Noise of a step: eta times the square root of DDIM's variance between destination d and source
    /// s.
    @Test
    void inpoNoiseIsDdimsVariance() {
        InversionPlan plan = plan(Inversion.of(Semantics.V020, 10).withEta(0.1), 999);
        double[] want = new double[10];
        for (int k = 0; k < 10; k++) {
            int s = plan.timestep(k);
            double source = SD15.alphaCumprod(Math.max(s, 0));
            double destination = SD15.alphaCumprod(s < 0 ? 1 : s + 100);
            want[k] = 0.1 * Math.sqrt((1 - source) / (1 - destination) * (1 - destination / source));
        }
        Golden.assertClose(plan.noiseCoefficients(), want, tolerance(1), "noise");
        assertThat(Golden.close(
                        plan(Inversion.of(Semantics.V022, 10).withEta(0.1), 999).noiseCoefficients(), want, 0))
                .isTrue();
        want[4] += 1e-5;
        assertThat(Golden.close(plan.noiseCoefficients(), want, tolerance(1))).isFalse();
        assertThat(plan(Inversion.of(Semantics.V020, 10), 999).noiseCoefficients())
                .containsOnly(0);
        // Clean latents at level 1 contain no noise, so the variance is 0.
        InversionPlan toOne = InversionPlan.of(
                SD15.withSetAlphaToOne(true), Inversion.of(Semantics.V022, 5).withEta(0.1), new int[] {500});
        assertThat(toOne.noiseCoefficient(0)).isZero();
    }

    @Test
    void targetsAreTheFormulasOfTheirPrediction() {
        int t = 321;
        double alpha = SD15.alphaCumprod(t);
        InversionPlan epsilon = plan(Inversion.of(Semantics.EXACT, 5), t);
        assertThat(epsilon.targetSampleCoefficient(0)).isEqualTo(1 / Math.sqrt(1 - alpha));
        assertThat(epsilon.targetCleanCoefficient(0)).isEqualTo(-Math.sqrt(alpha) / Math.sqrt(1 - alpha));
        InversionPlan velocity = InversionPlan.of(
                SD15.withPredictionType(PredictionType.V_PREDICTION), Inversion.of(Semantics.EXACT, 5), new int[] {t});
        assertThat(velocity.targetSampleCoefficient(0)).isEqualTo(Math.sqrt(alpha) / Math.sqrt(1 - alpha));
        assertThat(velocity.targetCleanCoefficient(0)).isEqualTo(-1 / Math.sqrt(1 - alpha));
    }

    @Test
    void plansDoNotChange() {
        int[] timesteps = {10, 500};
        InversionPlan plan = plan(Inversion.of(Semantics.EXACT, 5), timesteps);
        double before = plan.sampleCoefficient(0);
        timesteps[0] = 3;
        plan.sampleCoefficients()[0] = 7;
        plan.timesteps()[0] = 7;
        plan.rowStarts()[1] = 7;
        assertThat(plan.trainTimestep(0)).isEqualTo(10);
        assertThat(plan.sampleCoefficient(0)).isEqualTo(before);
        assertThat(plan.timestep(0)).isEqualTo(1);
        assertThat(plan.rowStart(1)).isEqualTo(2);
        assertThat(plan.rows()).isEqualTo(2);
    }

    @Test
    void impossiblePlansAreRefusedWithTheReason() {
        Inversion five = Inversion.of(Semantics.V022, 5);
        assertThatThrownBy(() -> plan(five, 3, 1000)).hasMessageContaining("timesteps[1]: expected 0 to 999, got 1000");
        assertThatThrownBy(() -> plan(five, -1)).hasMessageContaining("got -1");
        assertThatThrownBy(() -> plan(Inversion.of(Semantics.V022, 1001), 5)).hasMessageContaining("got 1001");
        assertThatThrownBy(() -> plan(Inversion.of(Semantics.V022, 1000), 5)).hasMessageContaining("timestep 1000");
        assertThatThrownBy(() -> Inversion.of(Semantics.V022, 0)).hasMessageContaining("got 0");
        assertThatThrownBy(() -> five.withSpacing(TimestepSpacing.LINSPACE)).hasMessageContaining("linspace");
        assertThatThrownBy(() -> five.withEta(-1)).hasMessageContaining("eta");
        assertThatThrownBy(() -> InversionPlan.of(
                        SD15.withPredictionType(PredictionType.SAMPLE).withSetAlphaToOne(true), five, new int[] {500}))
                .hasMessageContaining("set_alpha_to_one");
        assertThat(plan(five).steps()).isZero();
    }
}
