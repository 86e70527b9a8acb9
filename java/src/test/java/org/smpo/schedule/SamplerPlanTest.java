package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Map;
import java.util.function.DoubleBinaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;

class SamplerPlanTest {
    private static final NoiseSchedule SD15 = NoiseSchedule.stableDiffusion();

    static List<JsonNode> cases() {
        return Stream.concat(Golden.cases("samplers.json").stream(), Golden.cases("more_samplers.json").stream())
                .toList();
    }

    private static Sampler sampler(JsonNode golden) {
        Map<String, Object> config = Golden.config(golden.get("config"));
        return switch (golden.get("class").asString()) {
            case "EulerAncestralDiscreteScheduler" -> EulerAncestral.fromConfig(config);
            case "UniPCMultistepScheduler" -> UniPc.fromConfig(config);
            case "PNDMScheduler" -> Pndm.fromConfig(config);
            case "DDIMScheduler" -> Ddim.fromConfig(config, golden.get("eta").asDouble());
            case "EulerDiscreteScheduler" -> Euler.fromConfig(config);
            case "DPMSolverMultistepScheduler" -> DpmSolverMultistep.fromConfig(config);
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
        assertThat(Golden.list(golden.get("runs"))).hasSizeGreaterThan(5);
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
        SamplerPlan plan = SamplerPlan.of(SD15, new Pndm(TimestepSpacing.LEADING, 1, false, false), 50);
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
    void rungeKuttaStepsLeaveTheirFirstOutputsInTheHistory() {
        SamplerPlan plan = SamplerPlan.of(SD15, new Pndm(TimestepSpacing.LEADING, 1, false, true), 50);
        assertThat(plan.steps()).isEqualTo(59);
        assertThat(IntStream.range(0, 13).mapToDouble(plan::timestep).toArray())
                .containsExactly(981, 971, 971, 961, 961, 951, 951, 941, 941, 931, 931, 921, 921);
        assertThat(plan.drops(3)).isEqualTo(1);
        assertThat(plan.historyCoefficient(12, 3)).isNotZero();
        assertThatThrownBy(() -> SamplerPlan.of(SD15, new Pndm(TimestepSpacing.LEADING, 1, false, true), 3))
                .hasMessageContaining("expected 4 or more")
                .hasMessageContaining("skip_prk_steps");
    }

    @Test
    void karrasSamplersSpaceTheirLevelsWhateverTheModelsSchedulerDoes() {
        Map<String, Object> config = Map.of("_class_name", "EulerDiscreteScheduler", "use_karras_sigmas", false);
        for (Sampler.Kind kind : Sampler.Kind.values()) {
            if (kind.id().endsWith("_karras")) {
                Sampler.Kind plain = Sampler.Kind.parse(kind.id().replace("_karras", ""));
                assertThat(kind.fromConfig(config)).isNotEqualTo(plain.fromConfig(config));
                assertThat(kind.fromConfig(config))
                        .isEqualTo(plain.fromConfig(
                                Map.of("_class_name", "EulerDiscreteScheduler", "use_karras_sigmas", true)));
            }
        }
    }

    @Test
    void namesOfOtherToolsAreAnsweredWithOurs() {
        for (List<String> names : List.of(
                List.of("Euler a", "euler_a"),
                List.of("euler_ancestral", "euler_a"),
                List.of("DPM++ 2M Karras", "dpmpp_2m_karras"),
                List.of("DPMSolverMultistepScheduler", "dpmpp_2m"),
                List.of("uni_pc", "unipc"),
                List.of("PLMS", "pndm"))) {
            assertThatThrownBy(() -> Sampler.Kind.parse(names.get(0)))
                    .hasMessageContaining("expected ddim, euler, ")
                    .hasMessageEndingWith("got " + names.get(0) + "; here this is " + names.get(1));
        }
        assertThatThrownBy(() -> Sampler.Kind.parse("heun")).hasMessageEndingWith("got heun");
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
                assertThat(plan.drops(i)).isLessThanOrEqualTo(kept);
                kept = Math.min(kept, SamplerPlan.MAX_HISTORY) - plan.drops(i) + (plan.keeps(i) ? 1 : 0);
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
                new Ddim(TimestepSpacing.TRAILING, 0, true, 0),
                new Pndm(TimestepSpacing.TRAILING, 0, true, false),
                new Pndm(TimestepSpacing.TRAILING, 0, true, true),
                new UniPc(TimestepSpacing.TRAILING, 0, 2, false, true, false, FinalSigma.ZERO),
                new UniPc(TimestepSpacing.TRAILING, 0, 3, true, true, false, FinalSigma.ZERO),
                new DpmSolverMultistep(
                        TimestepSpacing.TRAILING, 0, 2, true, false, false, FinalSigma.ZERO, Double.NEGATIVE_INFINITY));
        for (Sampler sampler : samplers) {
            SamplerPlan plan = SamplerPlan.of(SD15, sampler, 10);
            double alpha = SD15.alphaCumprod(999);
            double x = Math.sqrt(alpha) * clean + Math.sqrt(1 - alpha) * noise;
            double saved = 0;
            double[] history = ToyModel.emptyHistory();
            for (int i = 0; i < plan.steps(); i++) {
                System.arraycopy(history, 0, history, 1, history.length - 1);
                history[0] = plan.historySampleCoefficient(i) * x + plan.historyOutputCoefficient(i) * noise;
                double next = plan.sampleCoefficient(i) * x + plan.savedCoefficient(i) * saved;
                for (int j = 0; j < SamplerPlan.MAX_HISTORY; j++) {
                    next += plan.historyCoefficient(i, j) * history[j];
                }
                saved = plan.saves(i) ? x : saved;
                history = ToyModel.kept(plan, i, history);
                x = next;
            }
            // 1 / sqrt(alpha) = 15 amplifies the roundings.
            assertThat(Math.abs(x - clean)).as(sampler.toString()).isLessThan(15 * tolerance(plan));
        }
    }

    @Test
    void trailingCountsThatDiffusersRunsPastStayWhole() {
        Sampler ddim = new Ddim(TimestepSpacing.TRAILING, 0, true, 0);
        for (int steps : new int[] {61, 103, 487}) {
            SamplerPlan plan = SamplerPlan.of(SD15, ddim, steps);
            assertThat(plan.steps()).isEqualTo(steps);
            assertThat(plan.timestep(steps - 1)).isGreaterThanOrEqualTo(0);
        }
        Sampler solver = new DpmSolverMultistep(
                TimestepSpacing.TRAILING, 0, 2, true, false, false, FinalSigma.ZERO, Double.NEGATIVE_INFINITY);
        assertThat(SamplerPlan.of(SD15, solver, 61).steps()).isEqualTo(61);
    }

    @Test
    void whatCannotRunSaysWhy() {
        Sampler ddim = new Ddim(TimestepSpacing.LEADING, 1, false, 0);
        assertThatThrownBy(() -> SamplerPlan.of(SD15, ddim, 0)).hasMessageContaining("expected 1 to 1000, got 0");
        assertThatThrownBy(() -> SamplerPlan.of(SD15, ddim, 1001)).hasMessageContaining("got 1001");
        assertThatThrownBy(() -> SamplerPlan.of(SD15, ddim, 1000)).hasMessageContaining("need timestep 1000");
        assertThatThrownBy(() -> new Ddim(TimestepSpacing.LEADING, 1, false, -0.1))
                .hasMessageContaining("eta");
        assertThatThrownBy(() -> SamplerPlan.of(
                        SD15.withPredictionType(PredictionType.SAMPLE),
                        new Pndm(TimestepSpacing.LEADING, 1, false, false),
                        5))
                .hasMessageContaining("PNDM");
        NoiseSchedule zeroSnr = NoiseSchedule.fromConfig(
                Map.of("_class_name", "DDIMScheduler", "clip_sample", false, "rescale_betas_zero_snr", true));
        assertThatThrownBy(() -> SamplerPlan.of(zeroSnr, new Ddim(TimestepSpacing.TRAILING, 0, true, 0), 5))
                .hasMessageContaining("zero terminal SNR");
        assertThatThrownBy(() -> SamplerPlan.of(zeroSnr, new Pndm(TimestepSpacing.LEADING, 0, true, false), 5))
                .hasMessageContaining("rescale_betas_zero_snr");
        assertThatThrownBy(() -> SamplerPlan.of(
                        SD15.withPredictionType(PredictionType.SAMPLE),
                        new EulerAncestral(TimestepSpacing.LEADING, 1),
                        5))
                .hasMessageContaining("euler_a");
        assertThatThrownBy(() -> new UniPc(TimestepSpacing.LEADING, 1, 2, false, false, false, FinalSigma.ZERO))
                .hasMessageContaining("lower_order_final");
        assertThatThrownBy(() -> new UniPc(TimestepSpacing.LEADING, 1, 4, false, true, false, FinalSigma.SIGMA_MIN))
                .hasMessageContaining("solver_order: expected 1 to 3");
        for (Map<String, Object> option : List.<Map<String, Object>>of(
                Map.of("predict_x0", false),
                Map.of("disable_corrector", List.of(0)),
                Map.of("solver_type", "bh3"),
                Map.of("use_flow_sigmas", true))) {
            assertThatThrownBy(() -> UniPc.fromConfig(option))
                    .hasMessageContaining(option.keySet().iterator().next());
        }
        SamplerPlan plan = SamplerPlan.of(SD15, ddim, 5);
        assertThatThrownBy(() -> plan.historyCoefficient(0, 4)).isInstanceOf(IndexOutOfBoundsException.class);
    }

    /// Four DDIM steps of a number with two linear networks in guidance, against numpy's float64.
    @Test
    void guidanceWithTwoNetworks() {
        SamplerPlan plan =
                SamplerPlan.of(NoiseSchedule.stableDiffusion(), new Ddim(TimestepSpacing.LEADING, 1, false, 0), 4);
        DoubleBinaryOperator positive = (x, t) -> 0.9 * x + 0.0001 * t;
        DoubleBinaryOperator negative = (x, t) -> 0.8 * x - 0.05;
        assertThat(guided(plan, positive, negative, 3)).isCloseTo(-0.079897340535, within(1e-11));
        assertThat(guided(plan, negative, positive, 3)).isCloseTo(1.948755490667, within(1e-11));
        assertThat(guided(plan, positive, negative, 1)).isCloseTo(0.478069424073, within(1e-11));
    }

    private static double guided(
            SamplerPlan plan, DoubleBinaryOperator positive, DoubleBinaryOperator negative, double scale) {
        double x = plan.initialNoiseScale();
        for (int i = 0; i < plan.steps(); i++) {
            double input = x * plan.inputScale(i);
            double away = negative.applyAsDouble(input, plan.timestep(i));
            double output = away + scale * (positive.applyAsDouble(input, plan.timestep(i)) - away);
            double entry = plan.historySampleCoefficient(i) * x + plan.historyOutputCoefficient(i) * output;
            x = plan.sampleCoefficient(i) * x + plan.historyCoefficient(i, 0) * entry;
        }
        return x;
    }

    /// Computed with numpy in float64: x' = A x + B out + s z for twenty steps of Stable Diffusion 1
    /// with eta 1, and B² / (2 s²).
    @Test
    void logRatiosOfNoisySteps() {
        NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
        SamplerPlan plan = SamplerPlan.of(schedule, new Ddim(TimestepSpacing.LEADING, 1, false, 1), 20);
        double[][] rows = {
            {0, 951, 1.310472371208, -0.549634475592, 0.644391014012, 0.363763386941},
            {9, 501, 1.120972611263, -0.268817681610, 0.429321149322, 0.196029350138},
            {18, 51, 1.024821090654, -0.220477148947, 0.040596731902, 14.747385251627},
            {19, 1, 1.000427623464, -0.020714165792, 0.020648320165, 0.503193994175},
        };
        for (double[] row : rows) {
            int step = (int) row[0];
            assertThat(plan.timestep(step)).isEqualTo(row[1]);
            assertThat(plan.sampleCoefficient(step)).isCloseTo(row[2], within(1e-11));
            assertThat(plan.historyCoefficient(step, 0)).isCloseTo(row[3], within(1e-11));
            assertThat(plan.noiseCoefficient(step)).isCloseTo(row[4], within(1e-11));
            assertThat(plan.logRatioScale(step)).isCloseTo(row[5], within(1e-9));
        }
    }

    @Test
    void cleanLatentsInvertForwardDiffusion() {
        NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
        ForwardProcess forward = ForwardProcess.of(schedule, new int[] {501});
        CleanLatents clean = CleanLatents.of(schedule, 501);
        double x0 = 0.7;
        double n = -1.3;
        double x = forward.sampleCoefficients()[0] * x0 + forward.noiseCoefficients()[0] * n;
        assertThat(clean.sample() * x + clean.output() * n).isCloseTo(x0, within(1e-12));
        NoiseSchedule v = NoiseSchedule.fromConfig(
                Map.of("_class_name", "DDIMScheduler", "prediction_type", "v_prediction", "clip_sample", false));
        double signal = Math.sqrt(v.alphaCumprod(501));
        double noise = Math.sqrt(1 - v.alphaCumprod(501));
        CleanLatents ofV = CleanLatents.of(v, 501);
        assertThat(ofV.sample() * (signal * x0 + noise * n) + ofV.output() * (signal * n - noise * x0))
                .isCloseTo(x0, within(1e-12));
    }
}
