package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.random.Synthetic;

/// The tiny UNet of the steps that capo.py, dora.py, kto_single.py and spo_step.py of tools/golden
/// compute with torch's autograd, which say how weights and inputs come from their names.
final class GoldenStep {
    private static final Path ROOT = Path.of(System.getProperty("smpo.root"));

    private GoldenStep() {}

    static JsonObject network() throws IOException {
        return Json.readObject(ROOT.resolve("native/test/golden/step/sd1.json"));
    }

    /// Writes `model/unet`, `model/scheduler` and `policy` below a folder.
    static void write(Path folder, JsonObject golden) throws IOException {
        JsonObject network = network();
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

    /// Returns standard normal values that follow from a name.
    static FloatTensor input(String name, int... shape) {
        int size = 1;
        long[] sizes = new long[shape.length];
        for (int i = 0; i < shape.length; i++) {
            size *= shape[i];
            sizes[i] = shape[i];
        }
        return FloatTensor.of(Synthetic.normalLike(name, size), sizes);
    }

    /// The largest difference of a norm or projection, relative to the norm.
    static double worstGradient(JsonObject golden, Map<String, FloatTensor> found) throws IOException {
        return worstGradient(golden, name -> found.get("grad." + name).values());
    }

    /// The same for gradients by the name of their parameter.
    static double worstGradient(JsonObject golden, Function<String, float[]> found) throws IOException {
        List<?> rows = (List<?>) golden.asMap().get("gradients");
        double whole = 0;
        for (Object row : rows) {
            whole += Math.pow(((Number) ((List<?>) row).getFirst()).doubleValue(), 2);
        }
        double worst = 0;
        int at = 0;
        for (String name : network().object("parameters").keys()) {
            List<?> row = (List<?>) rows.get(at++);
            float[] gradient = found.apply(name);
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
