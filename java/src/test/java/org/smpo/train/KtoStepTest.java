package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.ParameterInfo;
import org.smpo.io.DType;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.network.UNet;
import org.smpo.objective.Kto;
import org.smpo.objective.PairLoss;
import org.smpo.random.Synthetic;
import org.smpo.schedule.NoiseSchedule;

/// A step of KTO on five single images against torch's autograd in fp64: tools/golden/kto_single.py, which says how
/// weights, inputs and noise come from their names.
final class KtoStepTest {
    /// Torch in fp32 needs 1.7e-7, relative.
    private static final double ERRORS = 1e-6;

    /// Torch in fp32 needs 2.8e-7, relative.
    private static final double LOSS = 1e-6;

    /// Relative; the reference point is a mean of small differences of errors, for which torch in fp32 needs 5.8e-5.
    private static final double MEAN_GAIN = 2e-4;

    /// Torch in fp32 needs 4.8e-6, relative, and another order of sums 1.3e-5: the gradients of desirable and
    /// undesirable images cancel.
    private static final double GRADIENT = 2e-5;

    private static final Path ROOT = Path.of(System.getProperty("smpo.root"));

    @TempDir
    private static Path folder;

    private static JsonObject golden;
    private static JsonObject network;

    @BeforeAll
    static void write() throws IOException {
        golden = Json.readObject(ROOT.resolve("java/src/test/resources/org/smpo/train/kto/kto.json"));
        network = Json.readObject(ROOT.resolve("native/test/golden/step/sd1.json"));
        writeUnet(folder.resolve("policy"), 0);
        writeUnet(folder.resolve("reference"), Math.scalb(1f, -Math.toIntExact(golden.integer("perturbation_bits"))));
    }

    private static void writeUnet(Path target, float scale) throws IOException {
        Files.createDirectories(target);
        Json.write(target.resolve("config.json"), network.object("config"));
        Map<String, FloatTensor> weights = new LinkedHashMap<>();
        JsonObject parameters = network.object("parameters");
        for (String name : parameters.keys()) {
            List<Long> shape = parameters.integers(name);
            float[] values = Synthetic.tensor(name, shape);
            if (scale > 0) {
                boolean gain = shape.size() == 1 && name.endsWith(".weight");
                float[] by = gain
                        ? Synthetic.uniform("policy." + name, values.length)
                        : Synthetic.tensor("policy." + name, shape);
                for (int i = 0; i < values.length; i++) {
                    values[i] += scale * (gain ? 0.1f * by[i] : by[i]);
                }
            }
            weights.put(
                    name,
                    FloatTensor.of(
                            values, shape.stream().mapToLong(Long::longValue).toArray()));
        }
        FloatTensor.writeAll(target.resolve("diffusion_pytorch_model.safetensors"), weights, Map.of());
    }

    private record Found(PairResults results, Map<String, float[]> gradients) {}

    private static Found run(double beta, int microBatch) throws IOException {
        int images = golden.numbers("timesteps").size();
        int height = Math.toIntExact(golden.integer("height"));
        int width = Math.toIntExact(golden.integer("width"));
        int[] timesteps =
                golden.numbers("timesteps").stream().mapToInt(Double::intValue).toArray();
        boolean[] desirable = new boolean[images];
        long[] items = new long[images];
        for (int i = 0; i < images; i++) {
            desirable[i] = golden.numbers("desirable").get(i) == 1;
            items[i] = 2L * i;
        }
        try (ModelFiles policyFiles = ModelFiles.open(folder.resolve("policy"));
                ModelFiles referenceFiles = ModelFiles.open(folder.resolve("reference"));
                Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1).withSeed(0));
                UNet policy = UNet.load(engine, policyFiles.unetOrOnly(), new ModelOptions(DType.F32, true, false));
                UNet reference = UNet.load(engine, referenceFiles.unetOrOnly(), ModelOptions.frozen(DType.F32));
                PairLatents latents = new PairLatents(
                        engine.fromHost(
                                Synthetic.normalLike("kto.latents", images * 4 * height * width),
                                images,
                                4,
                                height,
                                width),
                        engine.fromHost(Synthetic.normalLike("kto.prompt_embeds", images * 77 * 12), images, 77, 12),
                        null,
                        null,
                        timesteps,
                        null,
                        null,
                        items,
                        true,
                        desirable)) {
            NoiseSchedule schedule =
                    NoiseSchedule.fromConfig(network.object("scheduler").asMap());
            PreferenceStep step = new PreferenceStep(engine, schedule, PairLoss.of(new Kto(beta, 1, 1)), null, 1);
            StepResults results = step.run(
                    latents, new Networks(policy.network(), reference.network(), null), 0, microBatch, images, true);
            Map<String, float[]> gradients = new LinkedHashMap<>();
            for (ParameterInfo parameter : policy.network().parameters()) {
                gradients.put(parameter.name(), policy.network().readGradient(parameter));
            }
            return new Found(results.pairs(), gradients);
        }
    }

    @Test
    void aStepAgreesWithAutogradForEveryMicroBatch() throws IOException {
        for (int microBatch : new int[] {2, 5}) {
            Found found = run(golden.number("beta"), microBatch);
            PairResults results = found.results();
            List<?> errors = (List<?>) golden.asMap().get("errors");
            for (int image = 0; image < errors.size(); image++) {
                double[] both = {results.policyWinner()[image], results.referenceWinner()[image]};
                for (int i = 0; i < 2; i++) {
                    double error = ((Number) ((List<?>) errors.get(image)).get(i)).doubleValue();
                    assertThat(both[i] / error - 1)
                            .as("error %d of image %d", i, image)
                            .isBetween(-ERRORS, ERRORS);
                }
                assertThat(results.loss()[image] / golden.numbers("loss").get(image) - 1)
                        .as("loss of image %d", image)
                        .isBetween(-LOSS, LOSS);
            }
            assertThat(golden.number("z0")).isPositive();
            assertThat(results.meanGain() / golden.number("z0") - 1).isBetween(-MEAN_GAIN, MEAN_GAIN);
            double mean = golden.numbers("loss").stream()
                    .mapToDouble(Double::doubleValue)
                    .average()
                    .orElseThrow();
            assertThat(results.lossSum() / mean - 1).isBetween(-LOSS, LOSS);
            assertThat(results.isSingle()).isTrue();
            assertThat(worstGradient(found.gradients())).isLessThan(GRADIENT);
        }
    }

    /// The comparisons notice another strength.
    @Test
    void anotherBetaIsNoticed() throws IOException {
        assertThat(worstGradient(
                        run(golden.number("beta") * (1 + 4 * GRADIENT), 5).gradients()))
                .isGreaterThan(GRADIENT);
    }

    /// The largest difference of a norm or projection, relative to the norm.
    private static double worstGradient(Map<String, float[]> found) throws IOException {
        List<?> rows = (List<?>) golden.asMap().get("gradients");
        double whole = 0;
        for (Object row : rows) {
            whole += Math.pow(((Number) ((List<?>) row).getFirst()).doubleValue(), 2);
        }
        double worst = 0;
        int at = 0;
        for (String name : network.object("parameters").keys()) {
            List<?> row = (List<?>) rows.get(at++);
            float[] gradient = found.get(name);
            double norm = ((Number) row.getFirst()).doubleValue();
            double sum = 0;
            for (float value : gradient) {
                sum += (double) value * value;
            }
            double off = Math.abs(Math.sqrt(sum) - norm);
            for (int k = 0; k < 2; k++) {
                float[] direction = Synthetic.uniform("projection" + k + "." + name, gradient.length);
                double projection = 0;
                for (int i = 0; i < gradient.length; i++) {
                    projection += (double) gradient[i] * direction[i];
                }
                off = Math.max(off, Math.abs(projection - norm * ((Number) row.get(1 + k)).doubleValue()));
            }
            worst = Math.max(worst, off / Math.max(norm, 1e-6 * Math.sqrt(whole)));
        }
        assertThat(at).isEqualTo(rows.size());
        return worst;
    }
}
