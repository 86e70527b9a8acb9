package org.smpo.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.smpo.checkpoint.BuiltIn;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelConfig;
import org.smpo.checkpoint.Weight;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.io.Safetensors;
import org.smpo.network.Prompt;
import org.smpo.random.Synthetic;
import org.smpo.schedule.Sampler;

/// From the same initial latents, final latents and images equal those of diffusers 0.42.1's pipelines
/// (tools/golden/pipeline.py): SD 1, SD 2 and SDXL base, the samplers that add no noise, 20 steps, guidance, negative
/// prompts, batches, guidance rescale, clip skip,
/// adapters, and the changes that the pipelines make to old configs.
final class PipelineTest {
    private static final Path RESOURCES = Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo");
    private static final Path FOLDER = RESOURCES.resolve("generate/pipeline");
    private static final Path GOLDEN = FOLDER.resolve("pipeline.safetensors");

    /// Largest relative L2 error of fp32 latents. A UNet evaluation is accurate to about 3e-7 (tens of sums of hundreds
    /// of terms, rounded to 6e-8 in another order); guidance 7.5 multiplies that by up to 7.5 + 6.5,
    /// and errors of 20 steps add up like a random walk: 3e-7 * 14 * sqrt(20) = 2e-5.
    private static final double LATENTS = 2e-5;

    /// The tolerance of fp32 latents at timesteps between training timesteps. diffusers finds those in a table
    /// of float32, whose logarithms are off by about 1e-6; sigma grows by 0.6 % per timestep, so timesteps are
    /// off by 2e-4, and the time embedding by as much.
    private static final double LATENTS_AT_FRACTIONS = 1e-4;

    /// Images may differ by at most 1 of 255 in 99.9 % of values.
    private static final int STEP = 1;

    private static final double EXCEPTIONS = 1e-3;

    /// Largest ratio of our bf16 error to that of diffusers' bf16.
    private static final double BF16_MARGIN = 1.2;

    @TempDir
    private Path temporary;

    /// The golden set of the first pipelines.
    static JsonObject golden() throws IOException {
        return golden("pipeline");
    }

    private static JsonObject golden(String set) throws IOException {
        return Json.readObject(FOLDER.resolve(set + ".json"));
    }

    /// The name of a set and of a model in it.
    static List<Arguments> models() throws IOException {
        List<Arguments> all = new ArrayList<>();
        for (String set : List.of("pipeline", "more_samplers")) {
            golden(set).object("models").keys().forEach(model -> all.add(Arguments.of(set, model)));
        }
        return all;
    }

    @ParameterizedTest
    @MethodSource("models")
    void equalsDiffusers(String set, String name) throws IOException {
        JsonObject model = golden(set).object("models").object(name);
        List<JsonObject> cases = model.objects("cases");
        assertThat(cases).isNotEmpty();
        try (Safetensors results = Safetensors.open(FOLDER.resolve(set + ".safetensors"))) {
            for (int k = 0; k < cases.size(); k++) {
                JsonObject one = cases.get(k);
                String which = name + "." + k;
                Path folder = write(temporary.resolve(which), model, one.object("scheduler"));
                List<GeneratedImage> images = generate(folder, model, one, which, Precision.FP32);
                float[] latents = latents(images);
                float[] expected = floats(results, which + ".latents");
                boolean fractions = string(one, "sampler").equals(Sampler.Kind.EULER_KARRAS.id());
                requireClose(which, expected, latents, fractions ? LATENTS_AT_FRACTIONS : LATENTS);
                requireSameImages(which, bytes(results, which + ".image"), pixels(images));
                if (one.has("bf16_error")) {
                    double error =
                            relativeError(expected, latents(generate(folder, model, one, which, Precision.BF16)));
                    assertThat(error).as(which).isLessThanOrEqualTo(BF16_MARGIN * one.number("bf16_error"));
                    assertThat(error).as(which + ": bf16 is not fp32").isGreaterThan(LATENTS);
                }
            }
        }
    }

    /// Each comparison rejects a small error.
    @Test
    void comparisonsCanFail() throws IOException {
        try (Safetensors results = Safetensors.open(GOLDEN)) {
            float[] expected = floats(results, "sd1.0.latents");
            requireClose("same", expected, expected.clone(), LATENTS);
            float[] oneOff = expected.clone();
            oneOff[17] += 0.01f;
            float[] scaled = expected.clone();
            for (int i = 0; i < scaled.length; i++) {
                scaled[i] *= 1.0001f;
            }
            float[] notANumber = expected.clone();
            notANumber[3] = Float.NaN;
            for (float[] wrong : List.of(oneOff, scaled, notANumber, floats(results, "sd1.1.latents"), new float[0])) {
                assertThatExceptionOfType(AssertionError.class)
                        .isThrownBy(() -> requireClose("wrong", expected, wrong, LATENTS));
            }
            byte[] image = bytes(results, "sd1.0.image");
            requireSameImages("same", image, image.clone());
            byte[] brighter = image.clone();
            byte[] spots = image.clone();
            for (int i = 0; i < image.length; i++) {
                brighter[i] = (byte) Math.min(255, (image[i] & 0xff) + 2);
                spots[i] = (byte) (i % 500 == 0 ? image[i] ^ 0x80 : image[i]);
            }
            for (byte[] wrong : List.of(brighter, spots, bytes(results, "sd1.1.image"), new byte[0])) {
                assertThatExceptionOfType(AssertionError.class)
                        .isThrownBy(() -> requireSameImages("wrong", image, wrong));
            }
        }
    }

    private static void requireClose(String which, float[] expected, float[] found, double tolerance) {
        assertThat(found).as(which).hasSameSizeAs(expected);
        assertThat(relativeError(expected, found)).as(which).isLessThanOrEqualTo(tolerance);
    }

    private static void requireSameImages(String which, byte[] expected, byte[] found) {
        assertThat(found).as(which).hasSameSizeAs(expected);
        assertThat(outliers(expected, found))
                .as(which + ": values further than " + STEP + " apart, of " + expected.length)
                .isLessThanOrEqualTo((int) (EXCEPTIONS * expected.length));
    }

    /// |found - expected| / |expected|, in L2.
    static double relativeError(float[] expected, float[] found) {
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.length; i++) {
            difference += ((double) found[i] - expected[i]) * ((double) found[i] - expected[i]);
            norm += (double) expected[i] * expected[i];
        }
        return Math.sqrt(difference / norm);
    }

    private static int outliers(byte[] expected, byte[] found) {
        int count = 0;
        for (int i = 0; i < expected.length; i++) {
            if (Math.abs((expected[i] & 0xff) - (found[i] & 0xff)) > STEP) {
                count++;
            }
        }
        return count;
    }

    // ---- running a case ----

    /// The images of a case, from noise of a name.
    static ImageRequest request(JsonObject one, String noiseName, Sampler.Kind sampler, int clipSkip)
            throws IOException {
        List<String> texts = one.strings("prompts");
        List<String> negatives = one.has("negative") ? one.strings("negative") : null;
        int height = Math.toIntExact(golden().integer("height"));
        int width = Math.toIntExact(golden().integer("width"));
        int row = 4 * (height / 8) * (width / 8);
        float[] noise = Synthetic.normalLike(noiseName + ".latents", texts.size() * row);
        List<Prompt> prompts = new ArrayList<>();
        List<float[]> initial = new ArrayList<>();
        for (int i = 0; i < texts.size(); i++) {
            prompts.add(new Prompt(texts.get(i), negatives == null ? null : negatives.get(i), OptionalLong.of(i)));
            initial.add(Arrays.copyOfRange(noise, i * row, (i + 1) * row));
        }
        GenerationConfig config = new GenerationConfig(
                width,
                height,
                Math.toIntExact(golden().integer("steps")),
                sampler,
                one.number("guidance_scale"),
                one.number("guidance_rescale"),
                clipSkip,
                0,
                one.has("eta") ? one.number("eta") : 0);
        return new ImageRequest(prompts, config, initial);
    }

    private List<GeneratedImage> generate(
            Path folder, JsonObject model, JsonObject one, String which, Precision precision) throws IOException {
        ImageRequest request = request(
                one, which, Sampler.Kind.parse(string(one, "sampler")), Math.toIntExact(one.integer("clip_skip")));
        try (TextToImage generator = TextToImage.open(folder, "cpu", precision, 1)) {
            if (one.has("lora")) {
                Path file = temporary.resolve(which + ".lora.safetensors");
                List<Weight> adapters = new ArrayList<>();
                JsonObject shapes = model.object("lora");
                for (String name : shapes.keys()) {
                    adapters.add(weight(name, shapes.integers(name)));
                }
                Weight.writeAll(file, adapters, null, Map.of());
                try (LoraFile lora = LoraFile.open(file)) {
                    generator.merge(lora.lora(), one.number("lora"));
                }
            }
            return generator.generate(request);
        }
    }

    private static String string(JsonObject object, String key) {
        return (String) object.asMap().get(key);
    }

    private static float[] latents(List<GeneratedImage> images) {
        int row = images.getFirst().latents().length;
        float[] all = new float[images.size() * row];
        for (int i = 0; i < images.size(); i++) {
            System.arraycopy(images.get(i).latents(), 0, all, i * row, row);
        }
        return all;
    }

    private static byte[] pixels(List<GeneratedImage> images) {
        ByteBuffer all =
                ByteBuffer.allocate(images.size() * images.getFirst().image().rgb().length);
        images.stream().map(GeneratedImage::image).map(RgbImage::rgb).forEach(all::put);
        return all.array();
    }

    // ---- files ----

    /// The diffusers folder of a model of the golden file.
    static Path write(Path folder, JsonObject model, JsonObject schedulerChanges) throws IOException {
        BuiltIn builtIn = BuiltIn.of(Family.valueOf(model.string("family").toUpperCase(Locale.ROOT)));
        Map<String, Object> index = new LinkedHashMap<>(builtIn.index().asMap());
        index.putAll(model.object("index").asMap());
        Files.createDirectories(folder.resolve("scheduler"));
        Json.write(folder.resolve("model_index.json"), index);
        Map<String, Object> scheduler =
                new LinkedHashMap<>(model.object("scheduler").asMap());
        scheduler.putAll(schedulerChanges.asMap());
        Json.write(folder.resolve("scheduler/scheduler_config.json"), scheduler);
        JsonObject configs = model.object("configs");
        for (String name : configs.keys()) {
            JsonObject config = configs.object(name);
            boolean text = name.startsWith("text_encoder");
            String className = text ? config.strings("architectures").getFirst() : config.string("_class_name");
            Files.createDirectories(folder.resolve(name));
            Json.write(folder.resolve(name + "/config.json"), config);
            List<Weight> weights = new ArrayList<>();
            ModelConfig.parse(config, className)
                    .parameters()
                    .forEach((parameter, shape) -> weights.add(weight(parameter, shape)));
            String file = text ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
            Weight.writeAll(folder.resolve(name).resolve(file), weights, null, Map.of());
            if (text) {
                Path tokenizer = folder.resolve(name.replace("text_encoder", "tokenizer"));
                Files.createDirectories(tokenizer);
                Path source = RESOURCES.resolve("network/tokenizer");
                Files.copy(source.resolve("vocab.json"), tokenizer.resolve("vocab.json"));
                Files.copy(source.resolve("merges.txt"), tokenizer.resolve("merges.txt"));
                Files.copy(
                        source.resolve(name.equals("text_encoder_2") ? "second.json" : "first.json"),
                        tokenizer.resolve("tokenizer_config.json"));
            }
        }
        return folder;
    }

    private static Weight weight(String name, List<Long> shape) {
        float[] values = Synthetic.tensor(name, shape);
        ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return Weight.of(name, DType.F32, shape, bytes.array());
    }

    private static float[] floats(Safetensors file, String name) throws IOException {
        ByteBuffer bytes = ByteView.of(file, file.entry(name)).buffer();
        float[] values = new float[bytes.remaining() / Float.BYTES];
        bytes.asFloatBuffer().get(values);
        return values;
    }

    private static byte[] bytes(Safetensors file, String name) throws IOException {
        ByteBuffer bytes = ByteView.of(file, file.entry(name)).buffer();
        byte[] values = new byte[bytes.remaining()];
        bytes.get(values);
        return values;
    }
}
