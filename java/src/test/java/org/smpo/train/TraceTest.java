package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.io.Digest;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.objective.Smpo;
import org.smpo.random.Synthetic;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.TimestepSpacing;

/// A whole step of the method against the published algorithm in fp64 on diffusers' UNet with torch's
/// autograd. tools/golden/step_golden.py describes the files, and how weights and inputs follow from
/// their names.
final class TraceTest {
    /// Limits of relative L2 differences, fp32 against fp64. The published code in fp32 uses up to 0.9
    /// and 0.5 of them.
    private static final double INTERMEDIATE = 1e-4;

    private static final double GRADIENT = 1e-3;

    /// A gradient below this share of the whole gradient's norm is pure rounding, so its difference is
    /// relative to the share.
    private static final double NEGLIGIBLE = 1e-6;

    private static final List<String> KINDS = List.of("noised", "target", "pred", "ref_pred");
    private static final int STORED_PAIRS = 3;

    private static final Path GOLDEN = Path.of(System.getProperty("smpo.root"), "native/test/golden/step");

    @TempDir
    private static Path folder;

    private static final Map<String, Golden> FAMILIES = new HashMap<>();

    @BeforeAll
    static void writeModels() throws IOException {
        for (String family : List.of("sd1", "sdxl")) {
            FAMILIES.put(family, new Golden(family, folder.resolve(family)));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"sd1", "sdxl"})
    void weightsAndInputsAreThoseOfTheGoldens(String family) throws IOException {
        Golden golden = FAMILIES.get(family);
        JsonObject digests = golden.document.object("sha256");
        assertThat(golden.digests.keySet()).isEqualTo(digests.keys());
        for (String name : digests.keys()) {
            assertThat(golden.digests.get(name)).as(name).isEqualTo(digests.string(name));
        }
    }

    @ParameterizedTest
    @CsvSource({"sd1,1", "sd1,3", "sd1,8", "sdxl,1", "sdxl,3", "sdxl,8"})
    void everySemanticsGivesThePublishedStep(String family, int pairs) throws IOException {
        Golden golden = FAMILIES.get(family);
        List<JsonObject> cases = golden.document.objects("cases");
        assertThat(cases).hasSizeGreaterThanOrEqualTo(7);
        for (JsonObject one : cases) {
            Map<String, FloatTensor> found = golden.run(one, pairs, 0, 0);
            golden.assertAgrees(one.string("name"), pairs, found);
        }
    }

    @ParameterizedTest
    @CsvSource({"sd1,1,0", "sd1,0,1", "sd1,3,5", "sdxl,1,0", "sdxl,0,1", "sdxl,3,5"})
    void neitherMicroBatchNorInversionBatchChangesTheStep(String family, int microBatch, int inversionBatch)
            throws IOException {
        Golden golden = FAMILIES.get(family);
        JsonObject one = golden.document.objects("cases").getFirst();
        Map<String, FloatTensor> whole = golden.run(one, 8, 0, 0);
        Map<String, FloatTensor> parts = golden.run(one, 8, microBatch, inversionBatch);
        golden.assertAgrees(one.string("name"), 8, parts);
        assertThat(parts.keySet()).isEqualTo(whole.keySet());
        double norm = wholeGradient(whole);
        for (String name : whole.keySet()) {
            boolean gradient = name.startsWith("grad.");
            double difference =
                    difference(parts.get(name).values(), whole.get(name).values(), gradient ? NEGLIGIBLE * norm : 0);
            assertThat(difference).as(name).isLessThanOrEqualTo(gradient ? GRADIENT : INTERMEDIATE);
        }
    }

    /// Changes each tensor, one at a time, slightly more than its limit allows.
    @ParameterizedTest
    @ValueSource(strings = {"sd1", "sdxl"})
    void theComparisonsNoticeAMutatedOutput(String family) throws IOException {
        Golden golden = FAMILIES.get(family);
        JsonObject one = golden.document.objects("cases").getFirst();
        Map<String, FloatTensor> found = golden.run(one, 3, 0, 0);
        List<String> names = new ArrayList<>(List.of("loss", "errors.0", "errors.1", "errors.2"));
        for (String kind : KINDS) {
            names.add(kind + "_w.0");
            names.add(kind + "_l.2");
        }
        double lossLimit = golden.lossLimit(one.string("name"), 3, golden.loss(one.string("name"), 3));
        assertThat(lossLimit).isLessThan(1e-3);
        for (String name : names) {
            double limit = name.equals("loss") ? lossLimit : INTERMEDIATE;
            assertThat(golden.worst(one.string("name"), 3, scaled(found, name, 1 + 2.1 * limit)))
                    .as(name)
                    .extractingByKey(name)
                    .satisfies(share -> assertThat(share).isGreaterThan(1));
        }
        int noticed = 0;
        for (String parameter : golden.parameters.keySet()) {
            String name = "grad." + parameter;
            assertThat(golden.worst(one.string("name"), 3, scaled(found, name, 1 + 2.1 * GRADIENT)))
                    .extractingByKey(name)
                    .satisfies(share -> assertThat(share).isGreaterThan(1));
            // Rotated, not scaled: projections change, the norm hardly does.
            noticed += golden.worst(one.string("name"), 3, turned(found, name, 20 * GRADIENT))
                                    .get(name)
                            > 1
                    ? 1
                    : 0;
        }
        assertThat(noticed).isGreaterThan(golden.parameters.size() * 9 / 10);
        Map<String, FloatTensor> swapped = new LinkedHashMap<>(found);
        swapped.put("pred_w.0", found.get("pred_l.0"));
        assertThat(golden.worst(one.string("name"), 3, swapped).get("pred_w.0")).isGreaterThan(1);
    }

    @Test
    void aBatchThatDoesNotFitIsRefusedByName() throws IOException {
        Golden golden = FAMILIES.get("sdxl");
        JsonObject one = golden.document.objects("cases").getFirst();
        for (String name : List.of("latents_w", "latents_l", "prompt_embeds", "timesteps", "p")) {
            Map<String, FloatTensor> batch = golden.batch(3);
            FloatTensor tensor = batch.remove(name);
            assertRefused(golden, one, batch, "expected a tensor " + name);
            long[] longer = tensor.sizes();
            longer[0] += 1;
            int size = tensor.values().length / Math.toIntExact(longer[0] - 1);
            batch.put(name, FloatTensor.of(new float[tensor.values().length + size], longer));
            // With one more winner, every other tensor has too few pairs.
            assertRefused(golden, one, batch, name.equals("latents_w") ? "latents_l" : name);
        }
        Map<String, FloatTensor> half = golden.batch(3);
        half.put("timesteps", FloatTensor.of(new float[] {1, 2.5f, 3}, 3));
        assertRefused(golden, one, half, "timesteps: expected whole numbers, got 2.5");
        Map<String, FloatTensor> late = golden.batch(3);
        late.put("timesteps", FloatTensor.of(new float[] {1, 1000, 3}, 3));
        assertRefused(golden, one, late, "expected 0 to 999, got 1000");
    }

    private static void assertRefused(Golden golden, JsonObject one, Map<String, FloatTensor> batch, String message) {
        assertThatExceptionOfType(IllegalArgumentException.class)
                .isThrownBy(() -> golden.run(one, batch, 0, 0))
                .withMessageContaining(message);
    }

    private static Map<String, FloatTensor> scaled(Map<String, FloatTensor> all, String name, double factor) {
        float[] values = all.get(name).values().clone();
        for (int i = 0; i < values.length; i++) {
            values[i] *= (float) factor;
        }
        return with(all, name, values);
    }

    /// Returns the tensor with an error of a relative size in another direction.
    private static Map<String, FloatTensor> turned(Map<String, FloatTensor> all, String name, double size) {
        float[] values = all.get(name).values().clone();
        float[] direction = Synthetic.uniform("turned." + name, values.length);
        double norm = norm(values);
        double length = norm(direction);
        for (int i = 0; i < values.length; i++) {
            values[i] += (float) (size * norm / length * direction[i]);
        }
        return with(all, name, values);
    }

    private static Map<String, FloatTensor> with(Map<String, FloatTensor> all, String name, float[] values) {
        Map<String, FloatTensor> changed = new LinkedHashMap<>(all);
        changed.put(name, FloatTensor.of(values, all.get(name).sizes()));
        return changed;
    }

    private static double wholeGradient(Map<String, FloatTensor> all) {
        double sum = 0;
        for (Map.Entry<String, FloatTensor> entry : all.entrySet()) {
            if (entry.getKey().startsWith("grad.")) {
                sum += Math.pow(norm(entry.getValue().values()), 2);
            }
        }
        return Math.sqrt(sum);
    }

    private static double norm(float[] values) {
        double sum = 0;
        for (float value : values) {
            sum += (double) value * value;
        }
        return Math.sqrt(sum);
    }

    /// Returns the relative L2 difference, or NaN if an element is NaN.
    private static double difference(float[] found, float[] wanted, double least) {
        assertThat(found).hasSameSizeAs(wanted);
        double sum = 0;
        for (int i = 0; i < found.length; i++) {
            sum += Math.pow((double) found[i] - wanted[i], 2);
        }
        return sum == 0 ? 0 : Math.sqrt(sum) / Math.max(norm(wanted), least);
    }

    /// One family: its golden file, its models on disk, its inputs.
    private static final class Golden {
        private final JsonObject document;
        private final Map<String, FloatTensor> wanted;
        private final Path folder;
        private final Map<String, List<Long>> parameters = new LinkedHashMap<>();
        private final Map<String, FloatTensor> inputs = new LinkedHashMap<>();
        private final Map<String, String> digests = new HashMap<>();

        Golden(String family, Path folder) throws IOException {
            this.document = Json.readObject(GOLDEN.resolve(family + ".json"));
            this.wanted = FloatTensor.readAll(GOLDEN.resolve(family + ".safetensors"));
            this.folder = folder;
            JsonObject shapes = document.object("parameters");
            for (String name : shapes.keys()) {
                parameters.put(name, shapes.integers(name));
            }
            write("reference", folder.resolve("model/unet"));
            write("policy", folder.resolve("policy"));
            Path scheduler = Files.createDirectories(folder.resolve("model/scheduler"));
            Json.write(scheduler.resolve("scheduler_config.json"), document.object("scheduler"));
            JsonObject inputShapes = document.object("inputs");
            for (String name : inputShapes.keys()) {
                long[] shape = sizes(inputShapes.integers(name));
                float[] values = Synthetic.normalLike("step." + name, elements(shape));
                inputs.put(name, FloatTensor.of(values, shape));
                digests.put(name, new Digest().update(bytes(values)).hex());
            }
            inputs.put("timesteps", vector(document.numbers("timesteps")));
            inputs.put("p", vector(document.numbers("p")));
            if (document.asMap().get("time_ids") instanceof List<?> rows) {
                List<Double> sizes = new ArrayList<>();
                rows.forEach(row -> ((List<?>) row).forEach(size -> sizes.add(((Number) size).doubleValue())));
                inputs.put("time_ids", FloatTensor.of(vector(sizes).values(), rows.size(), 6));
            }
        }

        private void write(String role, Path target) throws IOException {
            Files.createDirectories(target);
            Json.write(target.resolve("config.json"), document.object("config"));
            float scale = Math.scalb(1f, -Math.toIntExact(document.integer("perturbation_bits")));
            Map<String, FloatTensor> weights = new LinkedHashMap<>();
            Digest digest = new Digest();
            for (Map.Entry<String, List<Long>> parameter : parameters.entrySet()) {
                String name = parameter.getKey();
                float[] values = Synthetic.tensor(name, parameter.getValue());
                if (role.equals("policy")) {
                    boolean gain = parameter.getValue().size() == 1 && name.endsWith(".weight");
                    float[] by = gain
                            ? Synthetic.uniform("policy." + name, values.length)
                            : Synthetic.tensor("policy." + name, parameter.getValue());
                    for (int i = 0; i < values.length; i++) {
                        values[i] += scale * (gain ? 0.1f * by[i] : by[i]);
                    }
                }
                digest.update(bytes(values));
                weights.put(name, FloatTensor.of(values, sizes(parameter.getValue())));
            }
            digests.put(role, digest.hex());
            FloatTensor.writeAll(target.resolve("diffusion_pytorch_model.safetensors"), weights, Map.of());
        }

        Map<String, FloatTensor> batch(int pairs) throws IOException {
            List<Long> chosen = chosen(pairs);
            Map<String, FloatTensor> batch = new LinkedHashMap<>();
            inputs.forEach((name, all) -> {
                long[] shape = all.sizes();
                int size = all.values().length / Math.toIntExact(shape[0]);
                float[] values = new float[size * chosen.size()];
                for (int i = 0; i < chosen.size(); i++) {
                    System.arraycopy(all.values(), Math.toIntExact(chosen.get(i)) * size, values, i * size, size);
                }
                shape[0] = chosen.size();
                batch.put(name, FloatTensor.of(values, shape));
            });
            return batch;
        }

        private List<Long> chosen(int pairs) throws IOException {
            return document.object("batches").integers(Integer.toString(pairs));
        }

        Map<String, FloatTensor> run(JsonObject one, int pairs, int microBatch, int inversionBatch) throws IOException {
            return run(one, batch(pairs), microBatch, inversionBatch);
        }

        Map<String, FloatTensor> run(JsonObject one, Map<String, FloatTensor> batch, int microBatch, int inversionBatch)
                throws IOException {
            JsonObject settings = document.object("settings");
            Inversion inversion = new Inversion(
                    Inversion.Semantics.valueOf(upper(one.string("inversion"))),
                    Math.toIntExact(settings.integer("steps")),
                    TimestepSpacing.LEADING,
                    Inversion.Renoise.valueOf(upper(one.string("renoise"))),
                    0);
            return Trace.run(
                    folder.resolve("model"),
                    folder.resolve("policy"),
                    batch,
                    new Trace.Settings(
                            new Smpo(settings.number("beta"), settings.number("gamma"), settings.number("kappa")),
                            inversion,
                            "cpu",
                            Precision.FP32,
                            1,
                            0,
                            microBatch,
                            inversionBatch));
        }

        void assertAgrees(String name, int pairs, Map<String, FloatTensor> found) throws IOException {
            worst(name, pairs, found)
                    .forEach((tensor, share) -> assertThat(share)
                            .as("%s, %d pairs: difference of %s, in units of its limit", name, pairs, tensor)
                            .isLessThanOrEqualTo(1));
        }

        /// Returns the difference of each tensor in units of its limit. Every tensor is compared except
        /// those of pairs whose golden is not stored.
        Map<String, Double> worst(String name, int pairs, Map<String, FloatTensor> found) throws IOException {
            List<Long> chosen = chosen(pairs);
            Map<String, Double> worst = new LinkedHashMap<>();
            double loss = loss(name, pairs);
            for (int pair = 0; pair < pairs; pair++) {
                int own = Math.toIntExact(chosen.get(pair));
                worst.put("errors." + pair, intermediate(found, "errors." + pair, row(name + ".errors", own)));
                for (String kind : KINDS) {
                    for (String side : List.of("_w", "_l")) {
                        String tensor = kind + side + "." + pair;
                        assertThat(found).containsKey(tensor);
                        if (own < STORED_PAIRS) {
                            worst.put(tensor, intermediate(found, tensor, row(name + "." + kind + side, own)));
                        }
                    }
                }
            }
            worst.put(
                    "loss",
                    difference(found.get("loss").values(), new float[] {(float) loss}, 0)
                            / lossLimit(name, pairs, loss));
            gradients(name, pairs, found, worst);
            assertThat(found).hasSize(pairs * (1 + 2 * KINDS.size()) + 1 + parameters.size());
            return worst;
        }

        /// Returns the limit of the loss's relative difference. The loss multiplies a difference of four
        /// errors by κβγ|2p − 1|, over a thousand, and with it what the errors lose to rounding: one unit
        /// in the last place of each.
        double lossLimit(String name, int pairs, double loss) throws IOException {
            JsonObject settings = document.object("settings");
            double strength = settings.number("kappa") * settings.number("beta") * settings.number("gamma");
            double rounding = 0;
            for (long own : chosen(pairs)) {
                double sum = 0;
                for (float error : row(name + ".errors", Math.toIntExact(own))) {
                    sum += Math.abs(error) * 2 * Math.scalb(1, -24);
                }
                float p = inputs.get("p").values()[Math.toIntExact(own)];
                rounding += strength * Math.abs(2 * p - 1) * sum / pairs;
            }
            return Math.max(INTERMEDIATE, rounding / loss);
        }

        double loss(String name, int pairs) throws IOException {
            double loss = 0;
            for (long own : chosen(pairs)) {
                loss += wanted.get(name + ".loss").values()[Math.toIntExact(own)] / pairs;
            }
            return loss;
        }

        private static double intermediate(Map<String, FloatTensor> found, String name, float[] wanted) {
            return difference(found.get(name).values(), wanted, 0) / INTERMEDIATE;
        }

        /// Compares gradients by the norm and two projections of each.
        private void gradients(String name, int pairs, Map<String, FloatTensor> found, Map<String, Double> worst) {
            float[] rows = wanted.get(name + ".gradient." + pairs).values();
            double whole = 0;
            for (int i = 0; i < rows.length; i += 3) {
                whole += Math.pow(rows[i], 2);
            }
            int at = 0;
            for (String parameter : parameters.keySet()) {
                float[] gradient = found.get("grad." + parameter).values();
                double norm = rows[at];
                double off = Math.abs(norm(gradient) - norm);
                for (int k = 0; k < 2; k++) {
                    float[] direction = Synthetic.uniform("projection" + k + "." + parameter, gradient.length);
                    double projection = 0;
                    for (int i = 0; i < gradient.length; i++) {
                        projection += (double) gradient[i] * direction[i];
                    }
                    off = Math.max(off, Math.abs(projection - norm * rows[at + 1 + k]));
                }
                double share = off / Math.max(norm, NEGLIGIBLE * Math.sqrt(whole)) / GRADIENT;
                worst.put("grad." + parameter, share);
                at += 3;
            }
            assertThat(at).isEqualTo(rows.length);
        }

        private float[] row(String name, int row) {
            FloatTensor all = wanted.get(name);
            int size = all.values().length / Math.toIntExact(all.sizes()[0]);
            float[] values = new float[size];
            System.arraycopy(all.values(), row * size, values, 0, size);
            return values;
        }

        private static String upper(String text) {
            return text.toUpperCase(java.util.Locale.ROOT);
        }

        private static FloatTensor vector(List<Double> numbers) {
            float[] values = new float[numbers.size()];
            for (int i = 0; i < values.length; i++) {
                values[i] = numbers.get(i).floatValue();
            }
            return FloatTensor.of(values, values.length);
        }

        private static long[] sizes(List<Long> shape) {
            return shape.stream().mapToLong(Long::longValue).toArray();
        }

        private static int elements(long[] shape) {
            long elements = 1;
            for (long size : shape) {
                elements *= size;
            }
            return Math.toIntExact(elements);
        }

        private static ByteBuffer bytes(float[] values) {
            ByteBuffer buffer = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
            buffer.asFloatBuffer().put(values);
            return buffer;
        }
    }
}
