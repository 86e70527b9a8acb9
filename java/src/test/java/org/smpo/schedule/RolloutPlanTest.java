package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/// Plans of truncated rollouts: numbers worked out in float64 from the formulas of Self-NPO.
class RolloutPlanTest {
    private static final NoiseSchedule SD15 = NoiseSchedule.stableDiffusion();
    private static final TruncatedRollout PUBLISHED = new TruncatedRollout(25, 5);

    private static RolloutPlan plan(NoiseSchedule schedule, int start, int timestep) {
        return RolloutPlan.of(schedule, PUBLISHED, new int[] {start}, new int[] {timestep});
    }

    /// The timesteps at which the network predicts, for points 0, 3, 4, 10 and 24 of the grid.
    @ParameterizedTest
    @CsvSource({
        "0, 39 0",
        "3, 159 119 79 39 0",
        "4, 199 159 119 79 39 0",
        "10, 439 399 359 319 279 239",
        "24, 999 959 919 879 839 799",
    })
    void aRolloutTakesAtMostFiveSteps(int point, String timesteps) {
        int start = PUBLISHED.start(1000, point);
        int[] expected =
                Arrays.stream(timesteps.split(" ")).mapToInt(Integer::parseInt).toArray();
        RolloutPlan plan = plan(SD15, start, 999);
        assertThat(plan.timesteps()).isEqualTo(expected);
        assertThat(plan.rowStarts()).containsExactly(0, expected.length);
        assertThat(PUBLISHED.end(1000, start)).isEqualTo(expected[expected.length - 1]);
    }

    /// The noise of the clean latents at s: ε* = c e + sqrt(1 − c²) n.
    @ParameterizedTest
    @CsvSource({
        "439, 339, 0.701641457307, 0.712530185598, 0.905153317204",
        "439, 999, 0.045676009766, 0.998956306418, 213.587738262139",
        "39, 1, 0.705980231644, 0.708231538784, 0.001706880639",
        "999, 800, 0.995448180467, 0.095304354598, 26.122603722966",
    })
    void theTargetIsTurnedNoise(int start, int timestep, double kept, double fresh, double weight) {
        RolloutPlan plan = plan(SD15, start, timestep);
        assertThat(plan.targetOutputCoefficients()[0]).isCloseTo(kept, within(1e-11));
        assertThat(plan.targetNoiseCoefficients()[0]).isCloseTo(fresh, within(1e-11));
        assertThat(plan.targetSampleCoefficients()[0]).isZero();
        assertThat(plan.targetCleanCoefficients()[0]).isZero();
        double scale = SD15.cleanErrorScale(timestep);
        assertThat(scale * scale).isCloseTo(weight, within(1e-12 + 1e-11 * weight));
    }

    /// From the end of a rollout at t 239 to s 339, with x .3 −1.1 .8, e .2 −.7 1, n −.5 .4 .9.
    @Test
    void theLastStepIsForwardDiffusion() {
        RolloutPlan plan = plan(SD15, 439, 339);
        double[] x = {0.3, -1.1, 0.8};
        double[] e = {0.2, -0.7, 1};
        double[] n = {-0.5, 0.4, 0.9};
        double[] noised = {0.015758682930, -0.761739558048, 1.138887509894};
        double[] target = {-0.215936801338, -0.206136945876, 1.342918624345};
        int last = plan.rowStarts()[1] - 1;
        assertThat(plan.outputCoefficients()[last]).isZero();
        for (int i = 0; i < 3; i++) {
            double moved = plan.sampleCoefficients()[last] * x[i] + plan.noiseCoefficients()[last] * n[i];
            assertThat(moved).isCloseTo(noised[i], within(1e-11));
            double turned = plan.targetOutputCoefficients()[0] * e[i] + plan.targetNoiseCoefficients()[0] * n[i];
            assertThat(turned).isCloseTo(target[i], within(1e-11));
        }
    }

    /// From x0 = .5 and n = −1.2 at t 439 with the teacher e(x) = .5 x + .2.
    @Test
    void aWholeRolloutOfALinearTeacher() {
        RolloutPlan plan = plan(SD15, 439, 339);
        DoubleUnaryOperator teacher = x -> 0.5 * x + 0.2;
        double[] expected = {
            -0.655833114509, -0.696414836123, -0.733061569709, -0.765500537909, -0.793531907798, -0.817022196705
        };
        double x = plan.startSampleCoefficients()[0] * 0.5 + plan.startNoiseCoefficients()[0] * -1.2;
        for (int k = 0; k < 5; k++) {
            assertThat(x).isCloseTo(expected[k], within(1e-11));
            assertThat(plan.noiseCoefficients()[k]).isZero();
            x = plan.sampleCoefficients()[k] * x + plan.outputCoefficients()[k] * teacher.applyAsDouble(x);
        }
        assertThat(x).isCloseTo(expected[5], within(1e-11));
        CleanLatents clean = CleanLatents.of(SD15, 239);
        assertThat(clean.sample() * x + clean.output() * teacher.applyAsDouble(x))
                .isCloseTo(-0.843144583270, within(1e-11));
    }

    /// The same teacher in another parametrization leads to the same latents, and the target implies the
    /// same clean latents as the teacher's last prediction.
    @ParameterizedTest
    @EnumSource(PredictionType.class)
    void everyPredictionTypeMeansTheSame(PredictionType type) {
        NoiseSchedule schedule = SD15.withPredictionType(type);
        for (int[] levels : new int[][] {{39, 5}, {159, 480}, {439, 339}, {999, 999}}) {
            RolloutPlan plan = plan(schedule, levels[0], levels[1]);
            RolloutPlan ofNoise = plan(SD15, levels[0], levels[1]);
            double x = 0.7;
            double wanted = 0.7;
            double noise = -0.4;
            double output = 0;
            double e = 0;
            for (int k = 0; k < plan.timesteps().length; k++) {
                int t = plan.timesteps()[k];
                double signal = Math.sqrt(schedule.alphaCumprod(t));
                double sigma = Math.sqrt(1 - schedule.alphaCumprod(t));
                e = 0.5 * wanted + 0.2;
                double clean = (x - sigma * e) / signal;
                output = switch (type) {
                    case EPSILON -> e;
                    case V_PREDICTION -> signal * e - sigma * clean;
                    case SAMPLE -> clean;
                };
                x = plan.sampleCoefficients()[k] * x
                        + plan.outputCoefficients()[k] * output
                        + plan.noiseCoefficients()[k] * noise;
                wanted = ofNoise.sampleCoefficients()[k] * wanted
                        + ofNoise.outputCoefficients()[k] * e
                        + ofNoise.noiseCoefficients()[k] * noise;
                assertThat(x).isCloseTo(wanted, within(1e-9));
            }
            int s = levels[1];
            double turned = ofNoise.targetOutputCoefficients()[0] * e + ofNoise.targetNoiseCoefficients()[0] * noise;
            double target = plan.targetSampleCoefficients()[0] * x
                    + plan.targetOutputCoefficients()[0] * output
                    + plan.targetNoiseCoefficients()[0] * noise;
            CleanLatents ofTarget = CleanLatents.of(schedule, s);
            CleanLatents ofTurned = CleanLatents.of(SD15, s);
            assertThat(ofTarget.sample() * x + ofTarget.output() * target)
                    .isCloseTo(ofTurned.sample() * wanted + ofTurned.output() * turned, within(1e-7));
        }
    }

    @Test
    void startsAndTimestepsAreSampled() {
        RolloutSampler sampler = new RolloutSampler(3, PUBLISHED, 1000, 1000);
        RolloutSampler capped = new RolloutSampler(3, PUBLISHED, 1000, 300);
        Set<Integer> starts = new HashSet<>();
        Set<Integer> few = new HashSet<>();
        for (int place = 0; place < 2000; place++) {
            int start = sampler.start(5, place);
            starts.add(start);
            few.add(capped.start(5, place));
            assertThat(sampler.timestep(5, place)).isBetween(PUBLISHED.end(1000, start) + 1, 999);
            assertThat(capped.timestep(5, place)).isBetween(PUBLISHED.end(1000, capped.start(5, place)) + 1, 299);
        }
        assertThat(starts).hasSize(25).contains(39, 999);
        // A start at 479 ends at 279; one at 519 at 319, after which no timestep below 300 is left.
        assertThat(few).hasSize(12).contains(39, 479);
        assertThat(sampler.start(6, 1)).isEqualTo(new RolloutSampler(3, PUBLISHED, 1000, 1000).start(6, 1));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new RolloutSampler(3, PUBLISHED, 1000, 1))
                .withMessage("timesteps.end: expected 2 or more, got 1");
    }

    @Test
    void whatDoesNotFitIsRefused() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new TruncatedRollout(30, 5).requireFits(SD15))
                .withMessage("grid: expected a divisor of the 1000 training timesteps, got 30");
        NoiseSchedule noSignal = NoiseSchedule.fromConfig(Map.of(
                "_class_name",
                "DDIMScheduler",
                "clip_sample",
                false,
                "rescale_betas_zero_snr",
                true,
                "prediction_type",
                "v_prediction"));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> PUBLISHED.requireFits(noSignal))
                .withMessage("the schedule has zero terminal SNR; expected a finite ratio of noise to signal at every"
                        + " timestep");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> plan(SD15, 439, 239))
                .withMessage("timesteps[0]: expected 240 to 999, after a rollout from 439, got 239");
        for (int[] numbers : new int[][] {{0, 5}, {25, 0}}) {
            assertThatIllegalArgumentException().isThrownBy(() -> new TruncatedRollout(numbers[0], numbers[1]));
        }
    }
}
