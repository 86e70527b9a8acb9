package org.smpo.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelConfig;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.TinyModels;
import org.smpo.checkpoint.Weight;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.Safetensors;
import org.smpo.network.Prompt;
import org.smpo.random.Synthetic;
import org.smpo.schedule.Sampler;

/// Guidance with a network of its own on the negative side: the latents of diffusers' pipelines with two UNets
/// (tools/golden/two_networks.py), and what is refused.
final class NegativeNetworkTest {
    private static final Path RESOURCES = Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo");

    /// Largest relative L2 error of fp32 latents per unit of guidance scale, as for one network (PipelineTest).
    private static final double PER_SCALE = 4e-6;

    @TempDir
    private Path temporary;

    @ParameterizedTest
    @ValueSource(strings = {"sd1", "sd2", "sdxl"})
    void equalsDiffusersWithTwoNetworks(String name) throws IOException {
        JsonObject model = PipelineTest.golden().object("models").object(name);
        JsonObject cases = Json.readObject(RESOURCES.resolve("generate/two_networks/two_networks.json"));
        Path folder = PipelineTest.write(temporary.resolve(name), model, Json.parseObject("changes", "{}"));
        Path negative = negativeUNet(temporary.resolve(name + "-negative"), model.object("configs"));
        List<JsonObject> all = cases.objects(name);
        assertThat(all).hasSize(10);
        try (Safetensors results =
                Safetensors.open(RESOURCES.resolve("generate/two_networks/two_networks.safetensors"))) {
            for (int k = 0; k < all.size(); k++) {
                JsonObject one = all.get(k);
                float[] expected = floats(results, name + "." + k + ".latents");
                double limit = PER_SCALE * one.number("guidance_scale");
                float[] found = latents(folder, negative, one, name + ".two." + k);
                assertThat(PipelineTest.relativeError(expected, found))
                        .as(name + "." + k)
                        .isLessThanOrEqualTo(limit);
            }
            float[] otherwise = latents(folder, folder, all.getFirst(), name + ".two.0");
            assertThat(PipelineTest.relativeError(floats(results, name + ".0.latents"), otherwise))
                    .as("the second network matters")
                    .isGreaterThan(0.01);
        }
    }

    private static float[] latents(Path folder, Path negative, JsonObject one, String noiseName) throws IOException {
        ImageRequest request = PipelineTest.request(one, noiseName, Sampler.Kind.parse(one.string("sampler")), 0);
        try (TextToImage generator = TextToImage.open(folder, "cpu", Precision.FP32, 1)) {
            load(
                    generator,
                    folder,
                    negative,
                    NegativeCondition.valueOf(one.string("condition").toUpperCase(Locale.ROOT)));
            return all(generator.generate(request));
        }
    }

    private static void load(TextToImage generator, Path folder, Path negative, NegativeCondition condition)
            throws IOException {
        try (ModelFiles files = ModelFiles.open(folder);
                ModelFiles others = ModelFiles.open(negative)) {
            generator.loadNegative(files, others, Precision.FP32, condition);
        }
    }

    private static float[] all(List<GeneratedImage> images) {
        int row = images.getFirst().latents().length;
        float[] all = new float[images.size() * row];
        for (int i = 0; i < images.size(); i++) {
            System.arraycopy(images.get(i).latents(), 0, all, i * row, row);
        }
        return all;
    }

    /// The folder of a UNet alone.
    private static Path negativeUNet(Path folder, JsonObject configs) throws IOException {
        JsonObject config = configs.object("unet");
        Files.createDirectories(folder);
        Json.write(folder.resolve("config.json"), config);
        List<Weight> weights = new ArrayList<>();
        ModelConfig.parse(config, "UNet2DConditionModel").parameters().forEach((name, shape) -> {
            float[] values = Synthetic.tensor("negative." + name, shape);
            ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asFloatBuffer().put(values);
            weights.add(Weight.of(name, DType.F32, shape, bytes.array()));
        });
        Weight.writeAll(folder.resolve("diffusion_pytorch_model.safetensors"), weights, null, Map.of());
        return folder;
    }

    private static float[] floats(Safetensors file, String name) throws IOException {
        ByteBuffer bytes = ByteView.of(file, file.entry(name)).buffer();
        float[] values = new float[bytes.remaining() / Float.BYTES];
        bytes.asFloatBuffer().get(values);
        return values;
    }

    // ---- a small model ----

    private static GenerationConfig small(Sampler.Kind sampler, double scale, double rescale) {
        return new GenerationConfig(64, 64, 5, sampler, scale, rescale, 0, 0, 0);
    }

    @ParameterizedTest
    @EnumSource(Sampler.Kind.class)
    void theModelItselfChangesRoundingOnly(Sampler.Kind sampler) throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        try (TextToImage one = TextToImage.open(model, "cpu", Precision.FP32, 1);
                TextToImage two = TextToImage.open(model, "cpu", Precision.FP32, 1)) {
            load(two, model, model, NegativeCondition.EMPTY);
            for (double rescale : new double[] {0, 0.7}) {
                ImageRequest request = ImageRequest.of("a cat", 3, small(sampler, 7.5, rescale));
                double error = PipelineTest.relativeError(all(one.generate(request)), all(two.generate(request)));
                assertThat(error).isLessThanOrEqualTo(2e-5);
                ImageRequest other = ImageRequest.of("a cat", 3, small(sampler, 7.6, rescale));
                assertThat(PipelineTest.relativeError(all(one.generate(request)), all(two.generate(other))))
                        .isGreaterThan(2e-5);
            }
        }
    }

    /// Guidance away from what the same network predicts for the same prompt leads nowhere.
    @Test
    void theModelItselfOnThePromptIsNoGuidance() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        try (TextToImage generator = TextToImage.open(model, "cpu", Precision.FP32, 1)) {
            float[] plain = all(generator.generate(ImageRequest.of("a cat", 3, small(Sampler.Kind.DDIM, 1, 0))));
            load(generator, model, model, NegativeCondition.PROMPT);
            float[] guided = all(generator.generate(ImageRequest.of("a cat", 3, small(Sampler.Kind.DDIM, 7.5, 0))));
            assertThat(PipelineTest.relativeError(plain, guided)).isCloseTo(0, within(2e-5));
        }
    }

    @Test
    void whatWouldHaveNoEffectIsRefused() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        try (TextToImage generator = TextToImage.open(model, "cpu", Precision.FP32, 1)) {
            load(generator, model, model, NegativeCondition.PROMPT);
            assertThatThrownBy(() -> generator.generate(ImageRequest.of("a cat", 3, small(Sampler.Kind.DDIM, 1, 0))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("guidance scale: expected above 1 with a negative network, which 1 never evaluates,"
                            + " got 1.0");
            Prompt prompt = new Prompt("a cat", "ugly", OptionalLong.of(0));
            assertThatThrownBy(
                            () -> generator.generate(ImageRequest.of(List.of(prompt), small(Sampler.Kind.DDIM, 2, 0))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("expected no negative prompt, got \"ugly\"");
        }
    }

    @Test
    void aNegativeNetworkFitsTheModel() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        refused(
                model,
                changed("scheduler/scheduler_config.json", "prediction_type", "v_prediction"),
                "negative model: prediction_type: expected epsilon as the model's, found v_prediction");
        refused(
                model,
                changed("scheduler/scheduler_config.json", "beta_end", 0.02),
                "negative model: betas: alphas_cumprod[1]: expected");
        refused(
                model,
                changed("scheduler/scheduler_config.json", "num_train_timesteps", 500L),
                "negative model: num_train_timesteps: expected 1000 as the model's, found 500");
        Path wide = temporary.resolve("wide");
        Map<String, Object> unet = new LinkedHashMap<>(
                Json.readObject(model.resolve("unet/config.json")).asMap());
        unet.put("cross_attention_dim", 24L);
        TinyModels.component(wide, Json.parseObject("config", Json.canonical(unet)), "UNet2DConditionModel");
        refused(model, wide, "negative model: cross_attention_dim: expected 20 as the model's, found 24");
        refused(
                model,
                model.resolve("vae"),
                "negative model: expected a Stable Diffusion model or a UNet, found" + " AutoencoderKL");
    }

    /// A copy of the small model with another value in one of its configs.
    private Path changed(String file, String key, Object value) throws IOException {
        Path copy = TinyModels.writeRunnable(temporary.resolve(key));
        Map<String, Object> config =
                new LinkedHashMap<>(Json.readObject(copy.resolve(file)).asMap());
        config.put(key, value);
        Json.write(copy.resolve(file), config);
        return copy;
    }

    private static void refused(Path model, Path negative, String message) throws IOException {
        try (ModelFiles files = ModelFiles.open(model);
                ModelFiles others = ModelFiles.open(negative)) {
            assertThatThrownBy(() -> NegativeNetwork.unet(files, others))
                    .isInstanceOf(ModelException.class)
                    .hasMessageContaining(message);
        }
    }

    @Test
    void negativeLorasAreOfTheUNet() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        String path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_v";
        Path good = lora("good", "unet." + path, 32);
        Path bad = lora("bad", "text_encoder.text_model.encoder.layers.0.self_attn.q_proj", 20);
        try (TextToImage generator = TextToImage.open(model, "cpu", Precision.FP32, 1);
                LoraFile unet = LoraFile.open(good);
                LoraFile text = LoraFile.open(bad)) {
            assertThatThrownBy(() -> generator.mergeNegative(unet.lora(), 1))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("negative LoRA: expected a negative network to merge into, found none");
            load(generator, model, model, NegativeCondition.EMPTY);
            assertThatThrownBy(() -> generator.mergeNegative(text.lora(), 1))
                    .isInstanceOf(ModelException.class)
                    .hasMessageContaining("negative LoRA: expected modules of the UNet, since the negative network"
                            + " shares the model's text encoders, found"
                            + " text_encoder.text_model.encoder.layers.0.self_attn.q_proj");
            ImageRequest request = ImageRequest.of("a cat", 3, small(Sampler.Kind.DDIM, 7.5, 0));
            float[] before = all(generator.generate(request));
            generator.mergeNegative(unet.lora(), 1);
            assertThat(PipelineTest.relativeError(before, all(generator.generate(request))))
                    .isGreaterThan(1e-4);
            generator.mergeNegative(unet.lora(), -1);
            assertThat(PipelineTest.relativeError(before, all(generator.generate(request))))
                    .isLessThan(1e-5);
        }
    }

    @Test
    void lorasOfAnotherModelAreRefusedByName() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        try (TextToImage generator = TextToImage.open(model, "cpu", Precision.FP32, 1);
                LoraFile other = LoraFile.open(lora("other", "unet.mid_block.attentions.7.proj_in", 32))) {
            assertThatThrownBy(() -> generator.merge(other.lora(), 1))
                    .isInstanceOf(ModelException.class)
                    .hasMessageContaining("other.safetensors")
                    .hasMessageEndingWith("unet: expected a layer of the model, found mid_block.attentions.7.proj_in,"
                            + " which it does not have; is it for another base model?");
        }
    }

    private Path lora(String name, String module, long width) throws IOException {
        Path file = temporary.resolve(name + ".safetensors");
        Weight.writeAll(
                file,
                List.of(
                        TinyModels.weight(module + ".lora_A.weight", List.of(2L, width)),
                        TinyModels.weight(module + ".lora_B.weight", List.of(width, 2L))),
                null,
                Map.of());
        return file;
    }
}
