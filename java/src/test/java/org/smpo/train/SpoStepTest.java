package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeSampler;
import org.smpo.ffi.PairBatchInputs;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.ParameterInfo;
import org.smpo.ffi.SamplerInputs;
import org.smpo.io.DType;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.network.UNet;
import org.smpo.objective.PairLoss;
import org.smpo.objective.Spo;
import org.smpo.random.Synthetic;
import org.smpo.schedule.CleanLatents;
import org.smpo.schedule.Ddim;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSpacing;

/// SPO against torch in fp64: one step by autograd (tools/golden/spo_step.py), and a trajectory with
/// candidates (tools/golden/rollout.py). The scripts say how weights, inputs and noise come from their
/// names.
final class SpoStepTest {
    /// Absolute, of a log ratio: guidance at 5 multiplies the fp32 error of a prediction, and the
    /// second to last step multiplies that of an error by 15.
    private static final double LOG_RATIO = 2e-5;

    /// Relative to the norm of a parameter's gradient.
    private static final double GRADIENT = 5e-5;

    /// Relative L2 error of latents.
    private static final double LATENTS = 2e-5;

    private static final Path ROOT = Path.of(System.getProperty("smpo.root"));
    private static final Path GOLDEN = ROOT.resolve("java/src/test/resources/org/smpo/train/spo");

    @TempDir
    private static Path folder;

    private static JsonObject network;
    private static JsonObject golden;

    @BeforeAll
    static void write() throws IOException {
        network = GoldenStep.network();
        golden = Json.readObject(GOLDEN.resolve("spo_step.json"));
        GoldenStep.writeUnet(network, folder.resolve("reference"), 0);
        GoldenStep.writeUnet(
                network,
                folder.resolve("policy"),
                Math.scalb(1f, -Math.toIntExact(golden.integer("perturbation_bits"))));
    }

    private static UNet open(Engine engine, String name, boolean trainable) throws IOException {
        try (ModelFiles files = ModelFiles.open(folder.resolve(name))) {
            return UNet.load(engine, files.unetOrOnly(), new ModelOptions(DType.F32, trainable, false));
        }
    }

    private static DeviceTensor input(Engine engine, String name, long... shape) {
        int size = Math.toIntExact(Arrays.stream(shape).reduce(1, (a, b) -> a * b));
        return engine.fromHost(Synthetic.normalLike(name, size), shape);
    }

    private static SamplerPlan plan(NoiseSchedule schedule, int steps) {
        return SamplerPlan.of(schedule, new Ddim(TimestepSpacing.LEADING, 1, false, 1), steps);
    }

    private static NoiseSchedule schedule(String predictionType) {
        return NoiseSchedule.fromConfig(Map.of(
                "_class_name",
                "DDIMScheduler",
                "clip_sample",
                false,
                "beta_start",
                0.00085,
                "beta_end",
                0.012,
                "beta_schedule",
                "scaled_linear",
                "prediction_type",
                predictionType));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void aStepAgreesWithAutograd(int number) throws IOException {
        JsonObject one = golden.objects("cases").get(number);
        Map<String, FloatTensor> tensors = FloatTensor.readAll(GOLDEN.resolve("spo_step.safetensors"));
        int[] timesteps =
                golden.integers("timesteps").stream().mapToInt(Math::toIntExact).toArray();
        int pairs = timesteps.length;
        SamplerPlan plan = plan(schedule(one.string("prediction_type")), Math.toIntExact(golden.integer("steps")));
        double[] scales = new double[pairs];
        for (int i = 0; i < pairs; i++) {
            int t = timesteps[i];
            int row = 0;
            while (plan.timestep(row) != t) {
                row++;
            }
            scales[i] = plan.logRatioScale(row);
            float wanted = tensors.get(number + ".logit_scale").values()[i];
            assertThat(scales[i] / wanted).isCloseTo(1, within(1e-6));
        }
        int[] both = Arrays.copyOf(timesteps, 2 * pairs);
        System.arraycopy(timesteps, 0, both, pairs, pairs);
        long[] items = new long[2 * pairs];
        double beta = one.number("beta");
        FloatTensor target = tensors.get(number + ".target");
        for (int microBatch : new int[] {1, pairs}) {
            try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
                    UNet policy = open(engine, "policy", true);
                    UNet reference = open(engine, "reference", false);
                    PairLatents latents = new PairLatents(
                            null,
                            input(engine, "spo.prompt_embeds", pairs, 77, 12),
                            null,
                            null,
                            both,
                            null,
                            null,
                            items,
                            false,
                            null,
                            new PairLatents.Given(
                                    input(engine, "spo.latents", pairs, 4, 6, 5),
                                    engine.fromHost(target.values(), target.sizes()),
                                    scales,
                                    new PairBatchInputs.Guidance(
                                            golden.number("guidance_scale"),
                                            input(engine, "spo.negative_prompt_embeds", pairs, 77, 12),
                                            null)),
                            null)) {
                PreferenceStep step = new PreferenceStep(
                        engine,
                        NoiseSchedule.stableDiffusion(),
                        PairLoss.of(new Spo(beta, one.number("clip"))),
                        null,
                        1);
                PairResults found = step.run(
                                latents,
                                new Networks(policy.network(), reference.network(), null),
                                0,
                                microBatch,
                                pairs,
                                true)
                        .pairs();
                List<Double> logits = one.numbers("logit");
                List<Double> losses = one.numbers("loss");
                for (int i = 0; i < pairs; i++) {
                    assertThat(found.logit()[i]).as("logit " + i).isCloseTo(logits.get(i), within(beta * LOG_RATIO));
                    assertThat(found.loss()[i]).as("loss " + i).isCloseTo(losses.get(i), within(beta * LOG_RATIO));
                }
                assertThat(worstGradient(policy, one, 1)).isLessThan(GRADIENT);
                assertThat(worstGradient(policy, one, 1 + 3 * GRADIENT)).isGreaterThan(GRADIENT);
            }
        }
    }

    /// The largest difference of a norm or projection, relative to the norm. Parameters whose gradient
    /// is zero but for rounding are held to the largest one.
    private static double worstGradient(UNet policy, JsonObject one, double factor) throws IOException {
        List<?> rows = (List<?>) one.asMap().get("gradients");
        double largest = rows.stream()
                .mapToDouble(row -> ((Number) ((List<?>) row).getFirst()).doubleValue())
                .max()
                .orElseThrow();
        Map<String, ParameterInfo> parameters = new HashMap<>();
        policy.network().parameters().forEach(parameter -> parameters.put(parameter.name(), parameter));
        double worst = 0;
        int at = 0;
        for (String name : network.object("parameters").keys()) {
            List<?> row = (List<?>) rows.get(at++);
            float[] gradient = policy.network().readGradient(parameters.get(name));
            double norm = ((Number) row.getFirst()).doubleValue();
            double sum = 0;
            for (float value : gradient) {
                sum += (double) value * value;
            }
            double off = Math.abs(factor * Math.sqrt(sum) - norm);
            for (int k = 0; k < 2; k++) {
                float[] s = Synthetic.uniform("projection" + k + "." + name, gradient.length);
                double product = 0;
                for (int i = 0; i < s.length; i++) {
                    product += (double) gradient[i] * s[i];
                }
                off = Math.max(
                        off,
                        Math.abs(factor * product - norm * ((Number) row.get(k + 1)).doubleValue())
                                / Math.sqrt(s.length));
            }
            worst = Math.max(worst, off / Math.max(norm, 1e-3 * largest));
        }
        return worst;
    }

    @ParameterizedTest
    @ValueSource(strings = {"epsilon", "v_prediction"})
    void aTrajectoryWithCandidates(String predictionType) throws IOException {
        JsonObject choices = Json.readObject(GOLDEN.resolve("rollout.json"));
        Map<String, FloatTensor> tensors = FloatTensor.readAll(GOLDEN.resolve("rollout.safetensors"));
        int steps = Math.toIntExact(choices.integer("steps"));
        NoiseSchedule schedule = schedule(predictionType);
        SamplerPlan plan = plan(schedule, steps);
        List<?> chosen = (List<?>) choices.asMap().get(predictionType);
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
                UNet unet = open(engine, "reference", false);
                DeviceTensor noise = input(engine, "rollout.latents", 2, 4, 6, 5);
                DeviceTensor words = input(engine, "rollout.prompt_embeds", 2, 77, 12);
                DeviceTensor empty = input(engine, "rollout.negative_prompt_embeds", 2, 77, 12);
                NativeSampler sampler = NativeSampler.open(
                        unet.network(),
                        plan,
                        new SamplerInputs(
                                noise,
                                new SamplerInputs.Condition(words, null, null),
                                new SamplerInputs.Condition(empty, null, null),
                                5,
                                0,
                                List.of(0L, 64L),
                                new SamplerInputs.NegativeNetwork.Same()))) {
            for (int step = 0; step < steps; step++) {
                CleanLatents clean = step + 1 < steps ? CleanLatents.of(schedule, (int) plan.timestep(step + 1)) : null;
                float[] found;
                try (DeviceTensor candidates = sampler.fork(new long[] {0, 64, 1, 65}, clean)) {
                    found = candidates.toFloats();
                }
                assertClose(row(tensors, predictionType + ".clean", step), found, "clean latents of step " + step);
                int[] best = {best(found, 0), best(found, 1)};
                List<?> wanted = (List<?>) chosen.get(step);
                for (int image = 0; image < 2; image++) {
                    assertThat((long) best[image]).isEqualTo(((Number) wanted.get(image)).longValue());
                }
                sampler.select(best);
                try (DeviceTensor latents = sampler.latents()) {
                    assertClose(row(tensors, predictionType + ".latents", step), latents.toFloats(), "latents " + step);
                }
            }
        }
    }

    /// The candidate of an image whose clean latents have the smaller square.
    private static int best(float[] clean, int image) {
        int size = clean.length / 4;
        double[] squares = new double[2];
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < size; i++) {
                float value = clean[(2 * k + image) * size + i];
                squares[k] += (double) value * value;
            }
        }
        return squares[0] <= squares[1] ? 0 : 1;
    }

    private static float[] row(Map<String, FloatTensor> tensors, String name, int row) {
        float[] all = tensors.get(name).values();
        int size = all.length / Math.toIntExact(tensors.get(name).sizes()[0]);
        return Arrays.copyOfRange(all, row * size, (row + 1) * size);
    }

    private static void assertClose(float[] wanted, float[] found, String what) {
        assertThat(found).hasSameSizeAs(wanted);
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < wanted.length; i++) {
            difference += Math.pow((double) found[i] - wanted[i], 2);
            norm += Math.pow(wanted[i], 2);
        }
        assertThat(Math.sqrt(difference / norm)).as(what).isLessThan(LATENTS);
    }
}
