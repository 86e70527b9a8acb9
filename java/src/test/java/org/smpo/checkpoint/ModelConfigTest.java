package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.schedule.NoiseSchedule;

final class ModelConfigTest {
    private static ModelConfig parse(String name, JsonObject config) throws IOException {
        if (name.startsWith("unet")) {
            return UNetConfig.parse(config);
        }
        if (name.startsWith("vae")) {
            return VaeConfig.parse(config);
        }
        return name.contains("vision") || name.contains("vit_h")
                ? ClipVisionConfig.parse(config, null)
                : ClipTextConfig.parse(config, null);
    }

    private static Map<String, List<Long>> shapes(JsonObject parameters) throws IOException {
        Map<String, List<Long>> shapes = new LinkedHashMap<>();
        for (String name : parameters.keys()) {
            shapes.put(name, parameters.integers(name));
        }
        return shapes;
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "unet/sd1",
                "unet/sd2",
                "unet/sdxl",
                "unet/refiner",
                "vae/f8",
                "vae/f2",
                "clip/vit_l",
                "clip/open_clip",
                "clip/vit_h",
                "clip/vit_l_vision"
            })
    void tinyModelsHaveTheParametersThatTorchRegistersInItsOrder(String name) throws IOException {
        JsonObject golden = TinyModels.golden(name);
        ModelConfig config = parse(name, golden.object("config"));
        Map<String, List<Long>> expected = shapes(golden.object("parameters"));
        assertThat(config.parameters()).containsExactlyEntriesOf(expected);
        assertThat(config.unknownKeys()).isEmpty();

        // The comparison detects one changed dimension, and one changed position.
        Map<String, List<Long>> changed = new LinkedHashMap<>(expected);
        String first = changed.keySet().iterator().next();
        changed.put(first, List.of(1L));
        assertThat(config.parameters()).isNotEqualTo(changed);
        Map<String, List<Long>> moved = new LinkedHashMap<>(expected);
        moved.put(first, moved.remove(first));
        assertThat(List.copyOf(config.parameters().keySet())).isNotEqualTo(List.copyOf(moved.keySet()));
    }

    private static JsonObject golden() throws IOException {
        try (var in = ModelConfigTest.class.getResourceAsStream("golden.json")) {
            return Json.parseObject("golden.json", new String(in.readAllBytes(), StandardCharsets.UTF_8));
        }
    }

    private static void assertTable(ModelConfig config, JsonObject golden) throws IOException {
        String lines = config.parameters().entrySet().stream()
                .map(e -> e.getKey() + " "
                        + e.getValue().stream().map(String::valueOf).collect(Collectors.joining(","))
                        + "\n")
                .collect(Collectors.joining());
        assertThat(config.parameters()).hasSize((int) golden.integer("tensors"));
        assertThat(config.parameterCount()).isEqualTo(golden.integer("parameters"));
        assertThat(Digest.sha256(lines.getBytes(StandardCharsets.UTF_8))).isEqualTo(golden.string("sha256"));
    }

    @ParameterizedTest
    @EnumSource
    void publishedModelsHaveDiffusersParameters(Family family) throws IOException {
        JsonObject golden = golden().object(family.id());
        Map<String, ComponentConfig> configs = BuiltIn.of(family).configs();
        assertThat(configs.keySet()).containsExactlyInAnyOrderElementsOf(golden.keys());
        for (String name : golden.keys()) {
            assertTable(configs.get(name).config(), golden.object(name));
        }
    }

    @ParameterizedTest
    @CsvSource({
        "SD1, unet, 859520964",
        "SD1, vae, 83653863",
        "SD1, text_encoder, 123060480",
        "SD2, unet, 865910724",
        "SDXL, unet, 2567463684",
        "SDXL, text_encoder_2, 694659840"
    })
    void publishedModelsHaveTheParameterCountsThatArePublished(Family family, String component, long count)
            throws IOException {
        assertThat(BuiltIn.of(family).configs().get(component).config().parameterCount())
                .isEqualTo(count);
    }

    @ParameterizedTest
    @ValueSource(strings = {"vision_l", "vision_h"})
    void visionTowersHaveTransformersParameters(String name) throws IOException {
        JsonObject golden = golden().object(name);
        assertTable(ClipVisionConfig.parse(golden.object("config"), null), golden.object("vision"));
    }

    @ParameterizedTest
    @EnumSource
    void checkpointNamesAreThoseThatDiffusersConverts(Family family) throws IOException {
        JsonObject golden = golden().object(family.id());
        UNetConfig unet = (UNetConfig) BuiltIn.of(family).configs().get("unet").config();
        VaeConfig vae = (VaeConfig) BuiltIn.of(family).configs().get("vae").config();
        assertThat(nameDigest(LdmNames.unet(unet), unet))
                .isEqualTo(golden.object("unet").string("checkpoint"));
        assertThat(nameDigest(LdmNames.vae(vae), vae))
                .isEqualTo(golden.object("vae").string("checkpoint"));
    }

    private static String nameDigest(LdmNames names, ModelConfig config) {
        String lines = config.parameters().keySet().stream()
                .map(ours -> {
                    String theirs = names.toLdm(ours).orElseThrow();
                    assertThat(names.toDiffusers(theirs)).contains(ours);
                    return theirs + "=" + ours + "\n";
                })
                .sorted()
                .collect(Collectors.joining());
        return Digest.sha256(lines.getBytes(StandardCharsets.UTF_8));
    }

    private static UNetConfig unet(String changes) throws IOException {
        return UNetConfig.parse(changed("unet/sd1", changes));
    }

    private static JsonObject changed(String name, String changes) throws IOException {
        Map<String, Object> config =
                new LinkedHashMap<>(TinyModels.golden(name).object("config").asMap());
        config.putAll(Json.parseObject("changes", "{" + changes + "}").asMap());
        return Json.parseObject("unet/config.json", Json.canonical(config));
    }

    @Test
    void absentKeysTakeDiffusersDefaults() throws IOException {
        UNetConfig config = UNetConfig.parse(Json.parseObject("unet/config.json", "{}"));
        assertThat(config.blockOutChannels()).containsExactly(320, 640, 1280, 1280);
        assertThat(config.attentionHeads()).containsExactly(8, 8, 8, 8);
        assertThat(config.crossAttentionDim()).isEqualTo(1280);
        assertThat(config.downAttention()).containsExactly(true, true, true, false);
        assertThat(config.upAttention()).containsExactly(false, true, true, true);
        assertThat(config.normEps()).isEqualTo(1e-5);
        assertThat(config.sampleSize()).isZero();
        ClipTextConfig text = ClipTextConfig.parse(Json.parseObject("text_encoder/config.json", "{}"), null);
        assertThat(text.eosTokenId()).isEqualTo(49407);
        assertThat(text.projectionDim()).isZero();
    }

    @Test
    void scalarsAndListsMeanTheSame() throws IOException {
        assertThat(unet("\"attention_head_dim\": [2, 2, 2, 2], \"layers_per_block\": [2, 2, 2, 2], "
                                + "\"cross_attention_dim\": [20, 20, 20, 20], \"only_cross_attention\": [false, false]")
                        .parameters())
                .isEqualTo(unet("").parameters());
        assertThat(unet("\"transformer_layers_per_block\": [1, 2, 1, 1]").transformerLayers())
                .containsExactly(1, 2, 1, 1);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "\"_class_name\": \"UNet3DConditionModel\" | _class_name | \"UNet3DConditionModel\"",
                "\"act_fn\": \"gelu\" | act_fn | \"gelu\"",
                "\"addition_embed_type\": \"image\" | addition_embed_type | \"image\"",
                "\"addition_embed_type\": \"text_time\" | addition_time_embed_dim | null",
                "\"block_out_channels\": [16, 24, 32] | down_block_types | CrossAttnDownBlock2D",
                "\"block_out_channels\": [15, 24, 32, 32] | block_out_channels | 15",
                "\"class_embed_type\": \"timestep\" | class_embed_type | \"timestep\"",
                "\"cross_attention_dim\": [20, 20, 20, 24] | cross_attention_dim | 24",
                "\"down_block_types\": [\"AttnDownBlock2D\"] | down_block_types[0] | \"AttnDownBlock2D\"",
                "\"dropout\": 0.1 | dropout | 0.1",
                "\"in_channels\": 9 | in_channels | inpainting",
                "\"layers_per_block\": [2, 2] | layers_per_block | [2, 2]",
                "\"layers_per_block\": \"2\" | layers_per_block | \"2\"",
                "\"mid_block_type\": null | mid_block_type | null",
                "\"norm_eps\": -1 | norm_eps | -1",
                "\"num_attention_heads\": 8 | num_attention_heads | 8",
                "\"attention_head_dim\": 7 | attention_head_dim | 7",
                "\"transformer_layers_per_block\": [[1, 1]] | transformer_layers_per_block | [[1, 1]]",
                "\"time_embedding_type\": \"fourier\" | time_embedding_type | \"fourier\"",
                "\"use_linear_projection\": 1 | use_linear_projection | 1"
            })
    void unsupportedValuesAreErrorsThatNameFileKeyAndValue(String change, String key, String found) {
        assertThatThrownBy(() -> unet(change))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("unet/config.json: " + key + ": expected")
                .hasMessageContaining(found);
    }

    @Test
    void unsupportedClipAndVaeValuesAreErrors() {
        assertThatThrownBy(() -> ClipTextConfig.parse(changed("clip/vit_l", "\"hidden_act\": \"relu\""), null))
                .hasMessageContaining("hidden_act: expected one of quick_gelu, gelu, found \"relu\"");
        assertThatThrownBy(() -> ClipTextConfig.parse(changed("clip/vit_l", ""), "T5EncoderModel"))
                .hasMessageContaining("T5EncoderModel");
        assertThatThrownBy(() -> VaeConfig.parse(changed("vae/f2", "\"latents_mean\": [0.5]")))
                .hasMessageContaining("latents_mean");
        assertThatThrownBy(() -> VaeConfig.parse(changed("vae/f2", "\"_class_name\": \"VQModel\"")))
                .hasMessageContaining("VQModel");
    }

    /// Numbers of layers are bounded before their parameters are listed.
    @Test
    void bombsAreRefusedAtOnce() throws IOException {
        assertThat(unet("\"layers_per_block\": 64").layersPerBlock()).contains(64);
        for (String key : List.of("layers_per_block", "transformer_layers_per_block")) {
            assertThatThrownBy(() -> unet("\"" + key + "\": 65"))
                    .hasMessageContaining(key + ": expected at most 64 layers, found 65");
        }
        assertThatThrownBy(() -> VaeConfig.parse(changed("vae/f2", "\"layers_per_block\": 1000000")))
                .hasMessageContaining("layers_per_block: expected at most 64 layers, found 1000000");
        assertThatThrownBy(() -> ClipTextConfig.parse(changed("clip/vit_l", "\"num_hidden_layers\": 2147483647"), null))
                .hasMessageContaining("num_hidden_layers: expected at most 64 layers, found 2147483647");
        Map<String, Object> schedule = Map.of("_class_name", "PNDMScheduler", "num_train_timesteps", 2_000_000_000L);
        assertThatThrownBy(() -> NoiseSchedule.fromConfig(schedule))
                .hasMessageContaining("num_train_timesteps: expected at most 100000, got 2000000000");
    }

    @Test
    void unknownKeysAreKeptAndReported() throws IOException {
        UNetConfig config = unet("\"shiny\": {\"a\": [1]}, \"_private\": 3");
        assertThat(config.unknownKeys()).containsExactly("shiny");
        assertThat(config.json().asMap()).containsKeys("shiny", "_private");
    }

    @Test
    void wholeClipModelsGiveTheirTowers() throws IOException {
        JsonObject clip = Json.parseObject(
                "clip/config.json",
                "{\"architectures\": [\"CLIPModel\"], \"projection_dim\": 24, \"text_config\": {\"hidden_size\": 48,"
                        + " \"num_attention_heads\": 4, \"projection_dim\": 512}, \"vision_config\": "
                        + "{\"hidden_size\": 64, \"num_attention_heads\": 4, \"projection_dim\": 512}}");
        assertThat(ClipTextConfig.parse(clip, null).projectionDim()).isEqualTo(24);
        assertThat(ClipVisionConfig.parse(clip, null).projectionDim()).isEqualTo(24);
        assertThat(ClipVisionConfig.parse(clip, null).hiddenSize()).isEqualTo(64);
    }

    @Test
    void activationsKeptAgreeWithTheLayerByLayerCount() throws IOException {
        UNetConfig sd1 =
                (UNetConfig) BuiltIn.of(Family.SD1).configs().get("unet").config();
        UNetConfig sdxl =
                (UNetConfig) BuiltIn.of(Family.SDXL).configs().get("unet").config();
        // Bytes in bf16 per image; the counts are known to two decimals.
        assertThat(2e-9 * MemoryEstimate.kept(sd1, 64, 64)).isBetween(0.76, 0.80);
        assertThat(2e-9 * MemoryEstimate.kept(sdxl, 128, 128)).isBetween(5.7, 5.9);
    }

    @Test
    void goldenFilesAreTheOnesThatTheirListNames() throws IOException {
        String sums;
        byte[] golden;
        try (var list = ModelConfigTest.class.getResourceAsStream("SHA256SUMS");
                var file = ModelConfigTest.class.getResourceAsStream("golden.json")) {
            sums = new String(list.readAllBytes(), StandardCharsets.UTF_8);
            golden = file.readAllBytes();
        }
        assertThat(Arrays.stream(sums.split("\n")).toList())
                .contains(Digest.sha256(golden) + "  " + Path.of("golden.json"));
    }
}
