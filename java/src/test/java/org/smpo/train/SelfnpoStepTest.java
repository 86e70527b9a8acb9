package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.ParameterInfo;
import org.smpo.io.DType;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.network.UNet;
import org.smpo.objective.PairLoss;
import org.smpo.objective.Selfnpo;
import org.smpo.random.Purpose;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.PredictionType;
import org.smpo.schedule.RolloutPlan;
import org.smpo.schedule.TruncatedRollout;

/// A step of Self-NPO against torch in fp64: tools/golden/self_npo.py, which says how weights, inputs
/// and noise come from their names.
final class SelfnpoStepTest {
    /// Absolute, of latents of about unit variance. Torch in fp32 needs 3.8e-6.
    private static final double LATENTS = 2e-5;

    /// Relative. Torch in fp32 needs 2.2e-7.
    private static final double LOSS = 2e-6;

    /// Relative to the norm of a parameter's gradient. Torch in fp32 needs 5.4e-5 for the whole step and
    /// 1.6e-5 from the expected latents on: gradients of three images, from noise levels of which one
    /// weighs a hundred times another, are differences of larger ones.
    private static final double GRADIENT = 1e-4;

    private static final Path ROOT = Path.of(System.getProperty("smpo.root"));
    private static final Path GOLDEN = ROOT.resolve("java/src/test/resources/org/smpo/train/selfnpo");

    @TempDir
    private static Path folder;

    private static JsonObject golden;
    private static Map<String, FloatTensor> tensors;

    @BeforeAll
    static void write() throws IOException {
        golden = Json.readObject(GOLDEN.resolve("self_npo.json"));
        tensors = FloatTensor.readAll(GOLDEN.resolve("self_npo.safetensors"));
        JsonObject network = GoldenStep.network();
        GoldenStep.writeUnet(network, folder.resolve("teacher"), 0);
        GoldenStep.writeUnet(
                network,
                folder.resolve("student"),
                Math.scalb(1f, -Math.toIntExact(golden.integer("perturbation_bits"))));
    }

    /// Student, teacher and images of the golden step.
    private static final class Setting implements AutoCloseable {
        final Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
        final UNet student;
        final UNet teacher;
        final PairLatents images;
        final NoiseSchedule schedule;
        final int[] starts = integers("starts");
        final int[] timesteps = integers("timesteps");
        final long[] items = {0, 2, 4};

        Setting(JsonObject one) throws IOException {
            student = open("student", true);
            teacher = open("teacher", false);
            schedule = NoiseSchedule.stableDiffusion()
                    .withPredictionType(
                            one.string("prediction_type").equals("epsilon")
                                    ? PredictionType.EPSILON
                                    : PredictionType.V_PREDICTION);
            images = new PairLatents(
                            input("latents", 3, 4, 6, 5),
                            input("prompt_embeds", 3, 77, 12),
                            null,
                            null,
                            timesteps,
                            null,
                            null,
                            items,
                            true,
                            null)
                    .withStart(new PairLatents.Start(starts, input("empty", 1, 77, 12), null));
        }

        private UNet open(String name, boolean trainable) throws IOException {
            try (ModelFiles files = ModelFiles.open(folder.resolve(name))) {
                return UNet.load(engine, files.unetOrOnly(), new ModelOptions(DType.F32, trainable, false));
            }
        }

        private DeviceTensor input(String name, int... shape) {
            FloatTensor value = GoldenStep.input("selfnpo." + name, shape);
            return engine.fromHost(value.values(), value.sizes());
        }

        Networks networks() {
            return new Networks(student.network(), null, teacher.network());
        }

        @Override
        public void close() {
            images.close();
            engine.close();
        }
    }

    private static int[] integers(String name) throws IOException {
        return golden.numbers(name).stream().mapToInt(Double::intValue).toArray();
    }

    private static Selfnpo objective(JsonObject one) throws IOException {
        return new Selfnpo(one.string("error").equals("huber") ? one.number("huber_c") : Double.POSITIVE_INFINITY);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void aStepAgreesWithAutograd(int number) throws IOException {
        JsonObject one = golden.objects("cases").get(number);
        for (int microBatch : new int[] {1, 3}) {
            try (Setting setting = new Setting(one);
                    PairBatch batch = setting.images.open(setting.engine, 0, false)) {
                PreferenceStep step = new PreferenceStep(
                                setting.engine, setting.schedule, PairLoss.of(objective(one)), null, microBatch)
                        .withRollout(Optional.of(rollout(Math.toIntExact(golden.integer("rollout_steps")))));
                StepResults found = step.run(batch, setting.images, setting.networks(), microBatch, 3, true);
                // Points 0, 3 and 10 of the grid predict 2, 5 and 6 times.
                assertThat(found.inversion().evaluations()).isEqualTo(13);
                assertClose(
                        values(batch, PairBatch.Part.NOISED),
                        tensors.get(number + ".noised").values(),
                        LATENTS);
                assertClose(
                        values(batch, PairBatch.Part.TARGET),
                        tensors.get(number + ".target").values(),
                        LATENTS);
                PairResults results = found.pairs();
                double mean = 0;
                for (int i = 0; i < 3; i++) {
                    double loss = one.numbers("loss").get(i);
                    mean += loss / 3;
                    assertThat(results.loss()[i] / loss).as("loss " + i).isCloseTo(1, within(LOSS));
                }
                assertThat(found.loss() / mean).isCloseTo(1, within(LOSS));
                Map<String, float[]> gradients = new LinkedHashMap<>();
                for (ParameterInfo parameter : setting.student.network().parameters()) {
                    gradients.put(parameter.name(), setting.student.network().readGradient(parameter));
                }
                assertThat(GoldenStep.worstGradient(one, gradients::get)).isLessThan(GRADIENT);
                gradients.replaceAll((name, values) -> scaled(values, 1 + 2 * (float) GRADIENT));
                assertThat(GoldenStep.worstGradient(one, gradients::get)).isGreaterThan(GRADIENT);
            }
        }
    }

    private static float[] scaled(float[] values, float factor) {
        for (int i = 0; i < values.length; i++) {
            values[i] *= factor;
        }
        return values;
    }

    private static TruncatedRollout rollout(int steps) throws IOException {
        return new TruncatedRollout(Math.toIntExact(golden.integer("grid")), steps);
    }

    /// Every latent of the rollouts: after k steps, a rollout of k steps is noised again, and without
    /// that noise it is the one of the golden rollout.
    @ParameterizedTest
    @ValueSource(ints = {0, 2})
    void everyStepOfARolloutAgrees(int number) throws IOException {
        JsonObject one = golden.objects("cases").get(number);
        try (Setting setting = new Setting(one)) {
            for (int steps = 1; steps <= 5; steps++) {
                int[] noisier = {999, 999, 999};
                RolloutPlan plan = RolloutPlan.of(setting.schedule, rollout(steps), setting.starts, noisier);
                try (PairBatch batch = setting.images.open(setting.engine, 0, false)) {
                    PairLatents.Start start = setting.images.start();
                    batch.rollOut(setting.teacher.network(), plan, start.encoderHiddenStates(), start.textEmbeds(), 3);
                    float[] noised = values(batch, PairBatch.Part.NOISED);
                    int size = noised.length / 3;
                    for (int image = 0; image < 3; image++) {
                        int last = plan.rowStarts()[image + 1] - 1;
                        int taken = last - plan.rowStarts()[image];
                        float[] noise = noise(setting, 4096 * setting.items[image] + taken, size);
                        double[] x = new double[size];
                        for (int i = 0; i < size; i++) {
                            x[i] = (noised[image * size + i] - plan.noiseCoefficients()[last] * noise[i])
                                    / plan.sampleCoefficients()[last];
                        }
                        float[] path = tensors.get(number + ".x." + image).values();
                        for (int i = 0; i < size; i++) {
                            // The division by the signal's share at 999 makes more of the rounding of the sum.
                            assertThat(x[i])
                                    .as("image %d after %d steps", image, taken)
                                    .isCloseTo(path[taken * size + i], within(LATENTS));
                        }
                    }
                }
            }
        }
    }

    private static float[] noise(Setting setting, long item, int size) {
        try (DeviceTensor noise = setting.engine.zeros(DType.F32, 1, size)) {
            noise.fillNormal(Purpose.INVERSION_NOISE.code(), 0, item);
            return noise.toFloats();
        }
    }

    private static float[] values(PairBatch batch, PairBatch.Part part) {
        try (DeviceTensor tensor = batch.tensor(part)) {
            return tensor.toFloats();
        }
    }

    private static void assertClose(float[] found, float[] wanted, double limit) {
        assertThat(found).hasSameSizeAs(wanted);
        for (int i = 0; i < found.length; i++) {
            assertThat((double) found[i]).isCloseTo(wanted[i], within(limit));
        }
    }
}
