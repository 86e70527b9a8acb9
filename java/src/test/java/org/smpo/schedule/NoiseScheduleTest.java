package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;

class NoiseScheduleTest {
    static List<JsonNode> cases() {
        return Golden.cases("noise_schedules.json");
    }

    /// Returns the largest |got - want| / want. An expected 0 allows one rounding of the clean level's
    /// 1.
    private static double relative(double[] got, double[] want) {
        double largest = 0;
        for (int i = 0; i < want.length; i++) {
            largest = Math.max(largest, Math.abs(got[i] - want[i]) / Math.max(want[i], 0x1p-53));
        }
        return largest;
    }

    @ParameterizedTest
    @MethodSource("cases")
    void tablesAreDiffusers(JsonNode golden) {
        NoiseSchedule schedule = NoiseSchedule.fromConfig(Golden.config(golden.get("config")));
        int[] timesteps = Golden.ints(golden.get("timesteps"));
        double[] betas = new double[timesteps.length];
        double[] alphas = new double[timesteps.length];
        for (int i = 0; i < timesteps.length; i++) {
            betas[i] = schedule.beta(timesteps[i]);
            alphas[i] = schedule.alphaCumprod(timesteps[i]);
        }
        // A beta is one minus a quotient near 1, so its error is absolute. A product of n factors has n
        // roundings.
        Golden.assertClose(betas, Golden.doubles(golden.get("betas")), 1000 * 0x1p-53, "betas");
        double[] want = Golden.doubles(golden.get("alphas_cumprod"));
        double amplified = schedule.zeroTerminalSnr() ? 1 / want[want.length - 2] : 1;
        assertThat(relative(alphas, want)).isLessThan(1000 * 0x1p-53 * amplified);

        double[] mutated = want.clone();
        mutated[1] *= 1 + 1e-9;
        assertThat(relative(alphas, mutated)).isGreaterThan(1000 * 0x1p-53);

        // Unmodified diffusers with float32 tables.
        double[] single = Golden.doubles(golden.get("alphas_cumprod_float32"));
        Golden.assertClose(alphas, single, 1e-6, "float32 alphas_cumprod");
        boolean reachesNearZero = want[want.length - 1] < 1e-6 || want[want.length - 2] < 1e-5;
        assertThat(relative(alphas, single)).isLessThan(reachesNearZero ? 1000 * 0x1p-24 : 1e-6);
    }

    /// Known values, to their printed digits.
    @ParameterizedTest
    @CsvSource({
        "1, .998296027838",
        "101, .892980537081",
        "201, .752143401636",
        "401, .422881524262",
        "601, .159816437446",
        "801, .036546524608",
        "901, .014004897894",
    })
    void alphasAreThoseOfTheDerivation(int timestep, double alpha) {
        double got = NoiseSchedule.stableDiffusion().alphaCumprod(timestep);
        assertThat(Math.abs(got - alpha)).isLessThan(5.1e-13);
        assertThat(Math.abs(got * (1 + 1e-10) - alpha)).isGreaterThan(5.1e-13);
    }

    @Test
    void defaultsAreThoseOfEachClass() {
        List<JsonNode> classes = Golden.cases("class_defaults.json");
        assertThat(classes).hasSize(SchedulerClass.values().length);
        for (JsonNode golden : classes) {
            JsonNode defaults = golden.get("defaults");
            SchedulerClass schedulerClass =
                    SchedulerClass.named(golden.get("class").asString()).orElseThrow();
            assertThat(schedulerClass.timestepSpacing.configName())
                    .isEqualTo(defaults.get("timestep_spacing").asString());
            assertThat(schedulerClass.clipSample)
                    .isEqualTo(
                            defaults.has("clip_sample")
                                    ? defaults.get("clip_sample").asBoolean()
                                    : null);
            assertThat(schedulerClass.setAlphaToOne)
                    .isEqualTo(
                            defaults.has("set_alpha_to_one")
                                    ? defaults.get("set_alpha_to_one").asBoolean()
                                    : null);
            assertThat(schedulerClass.canRescaleBetas).isEqualTo(defaults.has("rescale_betas_zero_snr"));
            assertThat(defaults.get("num_train_timesteps").asInt()).isEqualTo(1000);
            assertThat(defaults.get("beta_start").asDouble()).isEqualTo(0.0001);
            assertThat(defaults.get("beta_end").asDouble()).isEqualTo(0.02);
            assertThat(defaults.get("beta_schedule").asString()).isEqualTo("linear");
            assertThat(defaults.get("prediction_type").asString()).isEqualTo("epsilon");
            assertThat(defaults.get("steps_offset").asInt()).isZero();
            // A file may hold every parameter of every class.
            Map<String, Object> all = new HashMap<>(Golden.config(defaults));
            new SchedulerConfig(all, schedulerClass.className);
        }
    }

    @Test
    void absentKeysTakeTheNamedClassesDefaults() {
        NoiseSchedule pndm = NoiseSchedule.fromConfig(Map.of("_class_name", "PNDMScheduler"));
        assertThat(pndm.trainTimesteps()).isEqualTo(1000);
        assertThat(pndm.beta(0)).isEqualTo(0.0001);
        assertThat(pndm.beta(999)).isEqualTo(0.02);
        assertThat(pndm.setAlphaToOne()).isFalse();
        assertThat(pndm.alphaInit()).isEqualTo(pndm.alphaCumprod(0));
        assertThat(pndm.timestepSpacing()).isEqualTo(TimestepSpacing.LEADING);
        assertThat(pndm.predictionType()).isEqualTo(PredictionType.EPSILON);
        NoiseSchedule ddim = NoiseSchedule.fromConfig(Map.of("_class_name", "DDIMScheduler", "clip_sample", false));
        assertThat(ddim.setAlphaToOne()).isTrue();
        assertThat(ddim.alphaInit()).isEqualTo(1);
        NoiseSchedule euler = NoiseSchedule.fromConfig(Map.of("_class_name", "EulerDiscreteScheduler"));
        assertThat(euler.timestepSpacing()).isEqualTo(TimestepSpacing.LINSPACE);
        assertThat(euler.setAlphaToOne()).isTrue();
        assertThat(euler.stepsOffset()).isZero();
    }

    @Test
    void zeroTerminalSnrEndsInPureNoiseAndKeepsItsFirstLevel() {
        Map<String, Object> config = new HashMap<>(Map.of("_class_name", "DDIMScheduler", "clip_sample", false));
        double first = NoiseSchedule.fromConfig(config).alphaCumprod(0);
        config.put("rescale_betas_zero_snr", true);
        NoiseSchedule rescaled = NoiseSchedule.fromConfig(config);
        assertThat(rescaled.zeroTerminalSnr()).isTrue();
        assertThat(rescaled.alphaCumprod(999)).isZero();
        assertThat(Math.abs(rescaled.alphaCumprod(0) - first)).isLessThan(0x1p-50);
    }

    private static void assertRefused(String key, Object value, String... expected) {
        Map<String, Object> config = new HashMap<>(Map.of("_class_name", "DDIMScheduler", "clip_sample", false));
        config.put(key, value);
        assertThatThrownBy(() -> NoiseSchedule.fromConfig(config))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("scheduler_config.json: " + key)
                .hasMessageContainingAll(expected);
    }

    @Test
    void valuesThatWeDoNotSupportAreNamed() {
        assertRefused("clip_sample", true, "expected false, got true");
        assertRefused("thresholding", true, "expected false, got true");
        assertRefused("use_flow_sigmas", true, "flow matching");
        assertRefused("beta_schedule", "sigmoid", "scaled_linear, squaredcos_cap_v2", "got sigmoid");
        assertRefused("prediction_type", "flow_prediction", "epsilon, v_prediction, sample", "got flow_prediction");
        assertRefused("timestep_spacing", "sideways", "linspace, leading, trailing", "got sideways");
        assertRefused("num_train_timesteps", 0, "1 or more");
        assertRefused("num_train_timesteps", 10.5, "an integer", "10.5");
        assertRefused("beta_start", "small", "a number", "small");
        assertRefused("trained_betas", List.of(0.1, 0.2), "1000 numbers", "got 2");
        assertRefused("trained_betas", List.of("a"), "a number", "got a");
        assertRefused("trained_betas", 3, "a list of numbers");
        assertRefused("set_alpha_to_one", "yes", "true or false", "yes");
        assertRefused(
                "_class_name", "FlowMatchEulerDiscreteScheduler", "flow matching", "FlowMatchEulerDiscreteScheduler");
        assertRefused("_class_name", 3, "the name of a diffusers scheduler");
        assertThatThrownBy(() -> NoiseSchedule.fromConfig(Map.of("_class_name", "DDIMScheduler")))
                .hasMessageContaining(
                        "clip_sample: expected false, got true (the key is absent; this is DDIMScheduler's default)");
        assertThatThrownBy(() -> NoiseSchedule.fromConfig(
                        Map.of("_class_name", "PNDMScheduler", "rescale_betas_zero_snr", true)))
                .hasMessageContaining("rescale_betas_zero_snr")
                .hasMessageContaining("PNDMScheduler cannot rescale");
        assertThatThrownBy(() -> NoiseSchedule.fromConfig(Map.of("_class_name", "PNDMScheduler", "beta_start", 0)))
                .hasMessageContaining("betas[0]");
        assertThatThrownBy(() -> NoiseSchedule.fromConfig(Map.of("_class_name", "PNDMScheduler", "steps_offset", -1)))
                .hasMessageContaining("steps_offset");
    }

    /// Betas, spacing and prediction type are written the same way by every class.
    @Test
    void otherClassesAndKeysAreReadWithANotice() {
        Map<String, Object> config = Map.of(
                "_class_name", "DEISMultistepScheduler", "beta_schedule", "scaled_linear", "solver_type", "logrho");
        NoiseSchedule schedule = NoiseSchedule.fromConfig(config);
        assertThat(schedule.alphaCumprod(999))
                .isEqualTo(NoiseSchedule.fromConfig(
                                Map.of("_class_name", "EulerDiscreteScheduler", "beta_schedule", "scaled_linear"))
                        .alphaCumprod(999));
        assertThat(NoiseSchedule.notices(config)).singleElement().asString().contains("DEISMultistepScheduler");
        assertThat(NoiseSchedule.notices(Map.of("_class_name", "PNDMScheduler", "note", "mine")))
                .singleElement()
                .asString()
                .contains("note");
        assertThat(NoiseSchedule.notices(Map.of("_class_name", "PNDMScheduler")))
                .isEmpty();
    }

    private static void assertSamplerRefuses(Map<String, Object> config, String message) {
        assertThatThrownBy(() -> {
                    Pndm.fromConfig(config);
                    Ddim.fromConfig(config, 0);
                    Euler.fromConfig(config);
                    DpmSolverMultistep.fromConfig(config);
                })
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }

    @Test
    void samplerOptionsThatWeDoNotSupportAreNamed() {
        Map<String, Object> good = Map.of("_class_name", "PNDMScheduler", "skip_prk_steps", true, "clip_sample", false);
        assertThat(Pndm.fromConfig(good)).isEqualTo(new Pndm(TimestepSpacing.LEADING, 0, false, false));
        assertThat(Ddim.fromConfig(good, 0.5)).isEqualTo(new Ddim(TimestepSpacing.LEADING, 0, true, 0.5));
        assertThat(Euler.fromConfig(good)).isEqualTo(new Euler(TimestepSpacing.LINSPACE, 0, false, FinalSigma.ZERO));
        assertThat(DpmSolverMultistep.fromConfig(good))
                .isEqualTo(new DpmSolverMultistep(
                        TimestepSpacing.LINSPACE, 0, 2, true, false, false, FinalSigma.ZERO, Double.NEGATIVE_INFINITY));

        assertThat(Pndm.fromConfig(Map.of()).rungeKutta()).isTrue();
        assertSamplerRefuses(
                Map.of("skip_prk_steps", true), "clip_sample: expected false, got true (the key is absent");
        Map<String, Object> bad = Map.ofEntries(
                Map.entry("interpolation_type", "log_linear"),
                Map.entry("timestep_type", "continuous"),
                Map.entry("use_exponential_sigmas", true),
                Map.entry("use_beta_sigmas", true),
                Map.entry("sigma_min", 0.1),
                Map.entry("sigma_max", 10),
                Map.entry("final_sigmas_type", "one"),
                Map.entry("algorithm_type", "sde-dpmsolver++"),
                Map.entry("solver_type", "heun"),
                Map.entry("solver_order", 3),
                Map.entry("use_lu_lambdas", true),
                Map.entry("use_flow_sigmas", true),
                Map.entry("use_dynamic_shifting", true),
                Map.entry("variance_type", "learned"),
                Map.entry("thresholding", true));
        bad.forEach((key, value) -> {
            Map<String, Object> config = new HashMap<>(good);
            config.put(key, value);
            assertSamplerRefuses(config, key);
        });
    }
}
