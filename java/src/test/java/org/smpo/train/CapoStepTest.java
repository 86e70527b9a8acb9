package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.objective.Capo;
import org.smpo.objective.Fronts;
import org.smpo.objective.RewardEnsemble;
import org.smpo.random.Synthetic;

/// A step of CaPO on four pairs against torch's autograd in fp64: tools/golden/capo.py, which says how weights,
/// inputs and noise come from their names.
final class CapoStepTest {
    /// Torch in fp32 needs 3.7e-7, relative.
    private static final double ERRORS = 1e-6;

    /// Absolute, for losses of about 0.1: the errors of ERRORS, of which a logit has four times β = 2.
    private static final double LOSS = 1e-6;

    /// Torch in fp32 needs 4.2e-6, relative.
    private static final double GRADIENT = 1e-5;

    private static final Path ROOT = Path.of(System.getProperty("smpo.root"));

    @TempDir
    private static Path folder;

    private static JsonObject golden;
    private static JsonObject network;

    @BeforeAll
    static void write() throws IOException {
        golden = Json.readObject(ROOT.resolve("java/src/test/resources/org/smpo/train/capo/capo.json"));
        network = Json.readObject(ROOT.resolve("native/test/golden/step/sd1.json"));
        writeUnet(network, folder.resolve("model/unet"), 0);
        writeUnet(
                network,
                folder.resolve("policy"),
                Math.scalb(1f, -Math.toIntExact(golden.integer("perturbation_bits"))));
        Path scheduler = Files.createDirectories(folder.resolve("model/scheduler"));
        Json.write(scheduler.resolve("scheduler_config.json"), network.object("scheduler"));
    }

    /// Writes a UNet whose weights are those of their names, plus a multiple of those of a policy.
    static void writeUnet(JsonObject network, Path target, float scale) throws IOException {
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

    private static FloatTensor vector(List<Double> numbers) {
        float[] values = new float[numbers.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = numbers.get(i).floatValue();
        }
        return FloatTensor.of(values, values.length);
    }

    private static FloatTensor input(String name, int... shape) {
        int size = 1;
        long[] sizes = new long[shape.length];
        for (int i = 0; i < shape.length; i++) {
            size *= shape[i];
            sizes[i] = shape[i];
        }
        return FloatTensor.of(Synthetic.normalLike("capo." + name, size), sizes);
    }

    private static Map<String, FloatTensor> run(double beta) throws IOException {
        int pairs = golden.numbers("timesteps").size();
        int height = Math.toIntExact(golden.integer("height"));
        int width = Math.toIntExact(golden.integer("width"));
        Map<String, FloatTensor> batch = new LinkedHashMap<>();
        batch.put("latents_w", input("latents_w", pairs, 4, height, width));
        batch.put("latents_l", input("latents_l", pairs, 4, height, width));
        batch.put("prompt_embeds", input("prompt_embeds", pairs, 77, 12));
        batch.put("timesteps", vector(golden.numbers("timesteps")));
        batch.put("reward_margin", vector(golden.numbers("margins")));
        Trace.Settings settings =
                new Trace.Settings(new Capo(beta, golden.number("bias")), null, "cpu", Precision.FP32, 1, 0, 0, 0);
        return Trace.run(folder.resolve("model"), folder.resolve("policy"), batch, settings);
    }

    @Test
    void aStepAgreesWithAutograd() throws IOException {
        Map<String, FloatTensor> found = run(golden.number("beta"));
        List<?> errors = (List<?>) golden.asMap().get("errors");
        for (int pair = 0; pair < errors.size(); pair++) {
            List<?> wanted = (List<?>) errors.get(pair);
            for (int i = 0; i < 4; i++) {
                double error = ((Number) wanted.get(i)).doubleValue();
                assertThat(found.get("errors." + pair).values()[i] / error - 1)
                        .as("error %d of pair %d", i, pair)
                        .isBetween(-ERRORS, ERRORS);
            }
        }
        double loss = golden.numbers("loss").stream()
                .mapToDouble(Double::doubleValue)
                .average()
                .orElseThrow();
        assertThat(found.get("loss").values()[0] - loss).isBetween(-LOSS, LOSS);
        assertThat(worstGradient(found)).isLessThan(GRADIENT);
        // The noise of the two images of a pair is not the same: at t = 751 it is nearly all there is.
        assertThat(found.get("noised_w.1").values())
                .isNotEqualTo(found.get("noised_l.1").values());
    }

    private static double[][] matrix(JsonObject group, String name) {
        return ((List<?>) group.asMap().get(name))
                .stream()
                        .map(row -> ((List<?>) row)
                                .stream()
                                        .mapToDouble(value -> ((Number) value).doubleValue())
                                        .toArray())
                        .toArray(double[][]::new);
    }

    /// From scores to pairs, exactly; calibrated scores to rounding.
    @Test
    void groupsGiveThePairsOfTheScript() throws IOException {
        List<JsonObject> groups = golden.objects("groups");
        assertThat(groups).hasSize(4);
        for (JsonObject group : groups) {
            double[][] scores = matrix(group, "scores");
            RewardEnsemble ensemble = RewardEnsemble.of(Collections.nCopies(scores[0].length, 1.0));
            double[][] calibrated = ensemble.calibrated(scores);
            double[][] wanted = matrix(group, "calibrated");
            for (int image = 0; image < scores.length; image++) {
                for (int reward = 0; reward < scores[0].length; reward++) {
                    assertThat(calibrated[image][reward]).isCloseTo(wanted[image][reward], within(1e-14));
                }
            }
            Fronts fronts = Fronts.of(scores);
            assertThat(fronts.upper().stream().map(Integer::longValue).toList()).isEqualTo(group.integers("upper"));
            assertThat(fronts.lower().stream().map(Integer::longValue).toList()).isEqualTo(group.integers("lower"));
            List<Fronts.Candidate> pairs = new ArrayList<>();
            for (double[] pair : matrix(group, "pairs")) {
                pairs.add(new Fronts.Candidate((int) pair[0], (int) pair[1]));
            }
            assertThat(fronts.pairs(ensemble.combined(RewardEnsemble.Combination.CALIBRATED, scores)))
                    .isEqualTo(pairs);
        }
    }

    /// The comparisons notice another strength.
    @Test
    void anotherBetaIsNoticed() throws IOException {
        assertThat(worstGradient(run(golden.number("beta") * (1 + 4 * GRADIENT))))
                .isGreaterThan(GRADIENT);
    }

    /// The largest difference of a norm or projection, relative to the norm.
    private static double worstGradient(Map<String, FloatTensor> found) throws IOException {
        List<?> rows = (List<?>) golden.asMap().get("gradients");
        double whole = 0;
        for (Object row : rows) {
            whole += Math.pow(((Number) ((List<?>) row).getFirst()).doubleValue(), 2);
        }
        double worst = 0;
        int at = 0;
        for (String name : network.object("parameters").keys()) {
            List<?> row = (List<?>) rows.get(at++);
            float[] gradient = found.get("grad." + name).values();
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
