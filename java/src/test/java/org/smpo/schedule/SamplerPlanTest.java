package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;

class SamplerPlanTest {
    private static final NoiseSchedule SD15 = NoiseSchedule.stableDiffusion();

    static List<JsonNode> cases() {
        return Golden.cases("samplers.json");
    }

    private static Sampler sampler(JsonNode golden) {
        Map<String, Object> config = Golden.config(golden.get("config"));
        return switch (golden.get("class").asString()) {
            case "PNDMScheduler" -> Sampler.Pndm.fromConfig(config);
            case "DDIMScheduler" ->
                Sampler.Ddim.fromConfig(config, golden.get("eta").asDouble());
            case "EulerDiscreteScheduler" -> Sampler.Euler.fromConfig(config);
            case "DPMSolverMultistepScheduler" -> Sampler.DpmSolverMultistep.fromConfig(config);
            default -> throw new AssertionError(golden.get("class"));
        };
    }

    /// Tolerance: a few dozen roundings per step of numbers as large as the initial noise (4096 with
    /// zero terminal SNR, where nearly all of it cancels in the first step).
    private static double tolerance(SamplerPlan plan) {
        return 64 * plan.steps() * 0x1p-53 * Math.max(1, plan.initialNoiseScale());
    }

    @ParameterizedTest
    @MethodSource("cases")
    void runsAsDiffusersDoes(JsonNode golden) {
        NoiseSchedule schedule = NoiseSchedule.fromConfig(Golden.config(golden.get("config")));
        Sampler sampler = sampler(golden);
        assertThat(Golden.list(golden.get("runs"))).hasSize(7);
        for (JsonNode run : Golden.list(golden.get("runs"))) {
            int steps = run.get("steps").asInt();
            SamplerPlan plan = SamplerPlan.of(schedule, sampler, steps);
            String what = steps + " steps of " + sampler;

            double[] timesteps =
                    IntStream.range(0, plan.steps()).mapToDouble(plan::timestep).toArray();
            Golden.assertClose(timesteps, Golden.doubles(run.get("timesteps")), 0x1p-50, "timesteps, " + what);
            assertThat(plan.initialNoiseScale())
                    .isEqualTo(run.get("initial_noise_scale").asDouble());

            double[] want = Golden.doubles(run.get("levels"));
            double[] got = ToyModel.sample(plan, 0.8);
            Golden.assertClose(got, want, tolerance(plan), what);
            for (int mutated = 0; mutated < plan.steps(); mutated++) {
                assertThat(Golden.close(ToyModel.sample(plan, 0.8, mutated), want, tolerance(plan)))
                        .as("a coefficient off by 1e-5 passes, " + what)
                        .isFalse();
            }

            // Unmodified diffusers with float32 tables: a product of 1000 factors has an error of at
            // most 1000 roundings.
            double[] single = {run.get("last_float32").asDouble()};
            Golden.assertClose(new double[] {got[got.length - 1]}, single, 1000 * 0x1p-24, "float32 tables, " + what);
        }
    }

    @Test
    void pndmVisitsItsSecondTimestepTwiceAndReadsFourOutputs() {
        SamplerPlan plan = SamplerPlan.of(SD15, new Sampler.Pndm(TimestepSpacing.LEADING, 1, false), 50);
        assertThat(plan.steps()).isEqualTo(51);
        assertThat(plan.timestep(0)).isEqualTo(981);
        assertThat(plan.timestep(1)).isEqualTo(961);
        assertThat(plan.timestep(2)).isEqualTo(961);
        assertThat(plan.timestep(50)).isEqualTo(1);
        assertThat(plan.saves(0)).isTrue();
        assertThat(plan.sampleCoefficient(1)).isZero();
        assertThat(plan.savedCoefficient(1)).isEqualTo(plan.sampleCoefficient(0));
        assertThat(plan.keeps(1)).isFalse();
        assertThat(plan.historyCoefficient(50, 3)).isNotZero();
    }

    @Test
    void noStepReadsMoreThanWasKept() {
        for (JsonNode golden : cases()) {
            NoiseSchedule schedule = NoiseSchedule.fromConfig(Golden.config(golden.get("config")));
            SamplerPlan plan = SamplerPlan.of(schedule, sampler(golden), 20);
            int kept = 0;
            boolean saved = false;
            for (int i = 0; i < plan.steps(); i++) {
                for (int back = kept + 1; back < SamplerPlan.MAX_HISTORY; back++) {
                    assertThat(plan.historyCoefficient(i, back)).isZero();
                }
                assertThat(saved || plan.savedCoefficient(i) == 0).isTrue();
                kept += plan.keeps(i) ? 1 : 0;
                saved |= plan.saves(i);
            }
        }
    }

    /// With a UNet that knows the noise, every sampler must end at the clean latent.
    @Test
    void allSamplersEndAtTheCleanLatentIfTheNoiseIsKnown() {
        double clean = 0.6;
        double noise = -1.3;
        List<Sampler> samplers = List.of(
                new Sampler.Ddim(TimestepSpacing.TRAILING, 0, true, 0),
                new Sampler.Pndm(TimestepSpacing.TRAILING, 0, true),
                new Sampler.DpmSolverMultistep(
                        TimestepSpacing.TRAILING, 0, 2, true, false, false, FinalSigma.ZERO, Double.NEGATIVE_INFINITY));
        for (Sampler sampler : samplers) {
            SamplerPlan plan = SamplerPlan.of(SD15, sampler, 10);
            double alpha = SD15.alphaCumprod(999);
            double x = Math.sqrt(alpha) * clean + Math.sqrt(1 - alpha) * noise;
            double saved = 0;
            double[] history = new double[SamplerPlan.MAX_HISTORY];
            for (int i = 0; i < plan.steps(); i++) {
                double[] before = history.clone();
                System.arraycopy(before, 0, history, 1, history.length - 1);
                history[0] = plan.historySampleCoefficient(i) * x + plan.historyOutputCoefficient(i) * noise;
                double next = plan.sampleCoefficient(i) * x + plan.savedCoefficient(i) * saved;
                for (int j = 0; j < history.length; j++) {
                    next += plan.historyCoefficient(i, j) * history[j];
                }
                saved = plan.saves(i) ? x : saved;
                history = plan.keeps(i) ? history : before;
                x = next;
            }
            // 1 / sqrt(alpha) = 15 amplifies the roundings.
            assertThat(Math.abs(x - clean)).as(sampler.toString()).isLessThan(15 * tolerance(plan));
        }
    }

    @Test
    void trailingCountsThatDiffusersRunsPastStayWhole() {
        Sampler ddim = new Sampler.Ddim(TimestepSpacing.TRAILING, 0, true, 0);
        for (int steps : new int[] {61, 103, 487}) {
            SamplerPlan plan = SamplerPlan.of(SD15, ddim, steps);
            assertThat(plan.steps()).isEqualTo(steps);
            assertThat(plan.timestep(steps - 1)).isGreaterThanOrEqualTo(0);
        }
        Sampler solver = new Sampler.DpmSolverMultistep(
                TimestepSpacing.TRAILING, 0, 2, true, false, false, FinalSigma.ZERO, Double.NEGATIVE_INFINITY);
        assertThat(SamplerPlan.of(SD15, solver, 61).steps()).isEqualTo(61);
    }

    @Test
    void whatCannotRunSaysWhy() {
        Sampler ddim = new Sampler.Ddim(TimestepSpacing.LEADING, 1, false, 0);
        assertThatThrownBy(() -> SamplerPlan.of(SD15, ddim, 0)).hasMessageContaining("expected 1 to 1000, got 0");
        assertThatThrownBy(() -> SamplerPlan.of(SD15, ddim, 1001)).hasMessageContaining("got 1001");
        assertThatThrownBy(() -> SamplerPlan.of(SD15, ddim, 1000)).hasMessageContaining("need timestep 1000");
        assertThatThrownBy(() -> new Sampler.Ddim(TimestepSpacing.LEADING, 1, false, -0.1))
                .hasMessageContaining("eta");
        assertThatThrownBy(() -> SamplerPlan.of(
                        SD15.withPredictionType(PredictionType.SAMPLE),
                        new Sampler.Pndm(TimestepSpacing.LEADING, 1, false),
                        5))
                .hasMessageContaining("PNDM");
        NoiseSchedule zeroSnr = NoiseSchedule.fromConfig(
                Map.of("_class_name", "DDIMScheduler", "clip_sample", false, "rescale_betas_zero_snr", true));
        assertThatThrownBy(() -> SamplerPlan.of(zeroSnr, new Sampler.Ddim(TimestepSpacing.TRAILING, 0, true, 0), 5))
                .hasMessageContaining("zero terminal SNR");
        assertThatThrownBy(() -> SamplerPlan.of(zeroSnr, new Sampler.Pndm(TimestepSpacing.LEADING, 0, true), 5))
                .hasMessageContaining("rescale_betas_zero_snr");
        SamplerPlan plan = SamplerPlan.of(SD15, ddim, 5);
        assertThatThrownBy(() -> plan.historyCoefficient(0, 4)).isInstanceOf(IndexOutOfBoundsException.class);
    }
}
