package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.Safetensors;
import org.smpo.io.TensorEntry;

final class LoraTest {
    @TempDir
    private Path temporary;

    private static Lora.Module module(String component, String path, List<Long> shape, int rank, double alpha)
            throws IOException {
        long r = rank;
        List<Long> down = new ArrayList<>(shape);
        down.set(0, r);
        List<Long> up = shape.size() == 4 ? List.of(shape.get(0), r, 1L, 1L) : List.of(shape.get(0), r);
        return Lora.Module.of(
                component,
                path,
                TinyModels.weight(component + path + "A", down),
                TinyModels.weight(component + path + "B", up),
                alpha,
                false);
    }

    /// Returns adapters on every module of a published family that can have one.
    private static Lora everywhere(Family family) throws IOException {
        List<Lora.Module> modules = new ArrayList<>();
        for (Map.Entry<String, ComponentConfig> component :
                BuiltIn.of(family).configs().entrySet()) {
            if (component.getKey().equals("vae")) {
                continue;
            }
            component.getValue().config().parameters().forEach((name, shape) -> {
                if (name.endsWith(".weight") && shape.size() > 1 && !name.contains("embeddings.")) {
                    // Rank 1 and narrow, because only the names matter.
                    List<Long> narrow = new ArrayList<>(shape);
                    narrow.set(0, 2L);
                    narrow.set(1, name.endsWith("attn2.to_k.weight") ? shape.get(1) : 3L);
                    String path = name.substring(0, name.length() - ".weight".length());
                    try {
                        modules.add(module(component.getKey(), path, narrow, path.endsWith("to_q") ? 2 : 1, 0.5));
                    } catch (IOException e) {
                        throw new AssertionError(e);
                    }
                }
            });
        }
        return new Lora(Lora.index("test", modules), Map.of("run", "7"));
    }

    /// Returns B times the scale, because formats divide the scale between B and alpha differently.
    private static double[] scaledUp(Lora.Module module) throws IOException {
        double[] values = module.up().toDoubles();
        for (int i = 0; i < values.length; i++) {
            values[i] *= module.scale();
        }
        return values;
    }

    private static void assertSame(Lora actual, Lora expected) throws IOException {
        assertThat(actual.modules().keySet()).isEqualTo(expected.modules().keySet());
        for (Lora.Module module : expected.modules().values()) {
            Lora.Module other = actual.modules().get(module.key());
            assertThat(other.down().shape())
                    .as(module.key())
                    .isEqualTo(module.down().shape());
            assertThat(other.down().toDoubles())
                    .as(module.key())
                    .isEqualTo(module.down().toDoubles());
            assertThat(other.up().shape())
                    .as(module.key())
                    .isEqualTo(module.up().shape());
            assertThat(scaledUp(other)).as(module.key()).isEqualTo(scaledUp(module));
        }
    }

    @ParameterizedTest
    @EnumSource
    void adaptersSurviveBothFormatsBitForBit(Family family) throws IOException {
        Lora lora = everywhere(family);
        assertThat(lora.family()).contains(family);
        Path peft = temporary.resolve(PeftFile.FILE_NAME);
        Path kohya = temporary.resolve("kohya.safetensors");
        Path again = temporary.resolve("again.safetensors");
        PeftFile.write(lora, peft, null);
        UNetConfig unet = (UNetConfig) BuiltIn.of(family).configs().get("unet").config();
        try (LoraFile file = LoraFile.open(peft)) {
            assertThat(file.format()).isEqualTo(LoraFile.Format.PEFT);
            assertSame(file.lora(), lora);
            assertThat(file.lora().metadata()).containsEntry("run", "7");
            KohyaFile.write(file.lora(), kohya, family, null, null);
        }
        try (LoraFile file = LoraFile.open(kohya, unet)) {
            assertThat(file.format()).isEqualTo(LoraFile.Format.KOHYA);
            assertSame(file.lora(), lora);
            assertThat(file.lora().family()).contains(family);
            PeftFile.write(new Lora(file.lora().modules(), Map.of("run", "7")), again, null);
        }
        assertThat(again).hasSameBinaryContentAs(peft);

        // The comparison detects a changed alpha.
        Lora.Module first = lora.modules().get(lora.modules().firstKey());
        SortedMap<String, Lora.Module> changed = new TreeMap<>(lora.modules());
        changed.put(
                first.key(), Lora.Module.of(first.component(), first.path(), first.down(), first.up(), 0.75, false));
        assertThatThrownBy(() -> assertSame(new Lora(changed, Map.of()), lora)).isInstanceOf(AssertionError.class);
    }

    @Test
    void kohyaFilesHaveTheNamesThatTheWebUisKnow() throws IOException {
        Path kohya = temporary.resolve("kohya.safetensors");
        KohyaFile.write(everywhere(Family.SD1), kohya, Family.SD1, null, null);
        try (Safetensors file = Safetensors.open(kohya)) {
            assertThat(file.entries().stream().map(TensorEntry::name))
                    .contains(
                            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight",
                            "lora_unet_mid_block_attentions_0_proj_in.alpha",
                            "lora_unet_up_blocks_1_resnets_0_time_emb_proj.lora_up.weight",
                            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight");
            assertThat(file.metadata())
                    .containsEntry("ss_network_module", "networks.lora")
                    .containsEntry("ss_base_model_version", "sd_v1")
                    .containsEntry("modelspec.architecture", "stable-diffusion-v1/lora");
        }
        Files.delete(kohya);
        KohyaFile.write(everywhere(Family.SDXL), kohya, Family.SDXL, null, null);
        try (Safetensors file = Safetensors.open(kohya)) {
            assertThat(file.entries().stream().map(TensorEntry::name))
                    .contains(
                            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
                            "lora_unet_output_blocks_2_2_conv.lora_down.weight",
                            "lora_unet_input_blocks_3_0_op.lora_down.weight",
                            "lora_unet_middle_block_0_in_layers_2.lora_down.weight",
                            "lora_unet_input_blocks_4_0_skip_connection.lora_up.weight",
                            "lora_unet_label_emb_0_0.alpha",
                            "lora_unet_out_2.alpha",
                            "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
                            "lora_te2_text_projection.lora_down.weight");
        }
    }

    private Path file(Map<String, List<Long>> shapes, Map<String, String> metadata) throws IOException {
        List<Weight> weights = new ArrayList<>();
        shapes.forEach((name, shape) -> weights.add(TinyModels.weight(name, shape)));
        Path file = temporary.resolve("lora.safetensors");
        Files.deleteIfExists(file);
        Weight.writeAll(file, weights, null, metadata);
        return file;
    }

    @Test
    void filesOfOlderDiffusersAreRead() throws IOException {
        List<Long> down = List.of(4L, 8L);
        List<Long> up = List.of(6L, 4L);
        Path file = file(
                Map.of(
                        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight", down,
                        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight", up,
                        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight",
                                down,
                        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight", up,
                        "unet.mid_block.attentions.0.proj_in.lora.down.weight", down,
                        "unet.mid_block.attentions.0.proj_in.lora.up.weight", up,
                        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight", down,
                        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight", up,
                        "text_encoder.text_model.encoder.layers.1.self_attn.to_out_lora.down.weight", down,
                        "text_encoder.text_model.encoder.layers.1.self_attn.to_out_lora.up.weight", up),
                Map.of());
        try (LoraFile lora = LoraFile.open(file)) {
            assertThat(lora.lora().modules().keySet())
                    .containsExactly(
                            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
                            "text_encoder.text_model.encoder.layers.1.self_attn.out_proj",
                            "unet.mid_block.attentions.0.proj_in",
                            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
                            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q");
            assertThat(lora.lora().modules().values()).allMatch(m -> m.scale() == 1.0);
        }
    }

    @Test
    void alphaComesFromTheMetadata() throws IOException {
        Map<String, List<Long>> shapes = Map.of(
                "unet.conv_in.lora_A.weight", List.of(4L, 8L),
                "unet.conv_in.lora_B.weight", List.of(6L, 4L),
                "unet.conv_out.lora_A.weight", List.of(4L, 8L),
                "unet.conv_out.lora_B.weight", List.of(6L, 4L));
        String metadata = Json.canonical(Map.of(
                "unet.r",
                4,
                "unet.lora_alpha",
                8,
                "unet.use_rslora",
                true,
                "unet.alpha_pattern",
                Map.of("conv_out", 3)));
        Path kohya = temporary.resolve("kohya.safetensors");
        Path peft = temporary.resolve("peft.safetensors");
        try (LoraFile file = LoraFile.open(file(shapes, Map.of(PeftFile.METADATA, metadata)))) {
            assertThat(file.lora().modules().get("unet.conv_in").scale()).isEqualTo(4.0);
            assertThat(file.lora().modules().get("unet.conv_out").scale()).isEqualTo(1.5);
            KohyaFile.write(file.lora(), kohya, Family.SD1, null, null);
            PeftFile.write(file.lora(), peft, DType.BF16);
        }
        try (LoraFile file = LoraFile.open(kohya)) {
            assertThat(file.lora().modules().get("unet.conv_in").scale()).isEqualTo(4.0);
            assertThat(file.lora().modules().get("unet.conv_out").scale()).isEqualTo(1.5);
        }
        try (LoraFile file = LoraFile.open(peft)) {
            assertThat(file.lora().modules().get("unet.conv_out").scale()).isEqualTo(1.0);
            assertThat(file.lora().modules().get("unet.conv_out").down().dtype())
                    .isEqualTo(DType.BF16);
        }
    }

    private Lora.Module only(Path path) throws IOException {
        try (LoraFile file = LoraFile.open(path)) {
            return file.lora().modules().values().iterator().next();
        }
    }

    /// Web UIs and older versions of diffusers read B and A and nothing else.
    @Test
    void exportsHaveTheirStrengthWithoutTheMetadata() throws IOException {
        Path kohya = file(
                Map.of(
                        "lora_unet_conv_in.lora_down.weight", List.of(4L, 8L, 3L, 3L),
                        "lora_unet_conv_in.lora_up.weight", List.of(6L, 4L, 1L, 1L),
                        "lora_unet_conv_in.alpha", List.of()),
                Map.of());
        Path peft = temporary.resolve("peft.safetensors");
        Path plain = temporary.resolve("plain.safetensors");
        double[] expected;
        try (LoraFile file = LoraFile.open(kohya)) {
            Lora.Module module = file.lora().modules().get("unet.conv_in");
            assertThat(module.scale()).isNotEqualTo(1);
            expected = scaledUp(module);
            PeftFile.write(file.lora(), peft, null);
        }
        try (Safetensors written = Safetensors.open(peft)) {
            Weight.writeAll(plain, Weight.all(written), null, Map.of());
        }
        try (LoraFile file = LoraFile.open(plain)) {
            double[] found = scaledUp(file.lora().modules().get("unet.conv_in"));
            for (int i = 0; i < found.length; i++) {
                assertThat(found[i]).isCloseTo(expected[i], org.assertj.core.data.Offset.offset(1e-6));
            }
        }
    }

    @Test
    void alphaMayBeAnIntegerAndStandBesidePeftNames() throws IOException {
        List<Weight> weights = new ArrayList<>();
        for (String name : List.of("unet.conv_in.lora_A.weight", "unet.conv_in.lora_B.weight")) {
            weights.add(TinyModels.weight(name, List.of(4L, 4L)));
        }
        byte[] two = {2, 0, 0, 0, 0, 0, 0, 0};
        weights.add(Weight.of("unet.conv_in.alpha", DType.I64, List.of(1L, 1L), two));
        Path peft = temporary.resolve("integer.safetensors");
        Weight.writeAll(peft, weights, null, Map.of());
        assertThat(only(peft).scale()).isEqualTo(0.5);
        Path kohya = temporary.resolve("integer-kohya.safetensors");
        Weight.writeAll(
                kohya,
                List.of(
                        weights.get(0).named("lora_unet_conv_in.lora_down.weight"),
                        weights.get(1).named("lora_unet_conv_in.lora_up.weight"),
                        weights.get(2).named("lora_unet_conv_in.alpha")),
                null,
                Map.of());
        assertThat(only(kohya).scale()).isEqualTo(0.5);
    }

    @Test
    void tensorsMayHoldTheNameOfOneAdapter() throws IOException {
        Map<String, List<Long>> shapes = new TreeMap<>(Map.of(
                "unet.conv_in.lora_A.mine.weight",
                List.of(4L, 8L),
                "unet.conv_in.lora_B.mine.weight",
                List.of(6L, 4L)));
        assertThat(only(file(shapes, Map.of())).key()).isEqualTo("unet.conv_in");
        shapes.put("unet.conv_out.lora_A.yours.weight", List.of(4L, 8L));
        shapes.put("unet.conv_out.lora_B.yours.weight", List.of(6L, 4L));
        Path two = file(shapes, Map.of());
        assertThatThrownBy(() -> LoraFile.open(two)).hasMessageContaining("mine, yours");
    }

    @Test
    void bundledEmbeddingsAreLeftOutAndNoticed() throws IOException {
        Path bundle = file(
                Map.of(
                        "lora_unet_conv_in.lora_down.weight", List.of(4L, 8L),
                        "lora_unet_conv_in.lora_up.weight", List.of(6L, 4L),
                        "bundle_emb.cat.clip_l", List.of(2L, 8L)),
                Map.of());
        try (LoraFile file = LoraFile.open(bundle)) {
            assertThat(file.lora().modules()).hasSize(1);
            assertThat(file.notices()).singleElement().asString().contains("embedding", "\"cat\"");
        }
    }

    @Test
    void linearModulesLoseDimensionsOfOne() throws IOException {
        String module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
        Path file = file(
                Map.of(
                        module + ".lora_down.weight", List.of(4L, 8L, 1L, 1L),
                        module + ".lora_up.weight", List.of(6L, 4L, 1L, 1L)),
                Map.of());
        try (LoraFile opened = LoraFile.open(file)) {
            Lora.Module read = opened.lora().modules().values().iterator().next();
            assertThat(read.down().shape()).containsExactly(4L, 8L);
            assertThat(read.up().shape()).containsExactly(6L, 4L);
            Lora.Module convolution = read.reshaped(List.of(4L, 8L, 1L, 1L), List.of(6L, 4L, 1L, 1L));
            assertThat(convolution.down().toDoubles()).isEqualTo(read.down().toDoubles());
            assertThatThrownBy(() -> read.reshaped(List.of(4L, 9L), List.of(6L, 4L)))
                    .hasMessageContaining("lora.safetensors")
                    .hasMessageContaining("another model");
        }
    }

    @Test
    void patternsAreRegularExpressions() throws IOException {
        Map<String, List<Long>> shapes = Map.of(
                "unet.a.attn1.to_q.lora_A.weight", List.of(4L, 8L),
                "unet.a.attn1.to_q.lora_B.weight", List.of(6L, 4L),
                "unet.a.attn2.to_q.lora_A.weight", List.of(4L, 8L),
                "unet.a.attn2.to_q.lora_B.weight", List.of(6L, 4L));
        for (String key : List.of(".*attn2\\.to_q", "attn2.to_q", "^a\\.attn2.*")) {
            String metadata =
                    Json.canonical(Map.of("unet.r", 4, "unet.lora_alpha", 2, "unet.alpha_pattern", Map.of(key, 8)));
            try (LoraFile file = LoraFile.open(file(shapes, Map.of(PeftFile.METADATA, metadata)))) {
                assertThat(file.lora().modules().get("unet.a.attn1.to_q").alpha())
                        .as(key)
                        .isEqualTo(2);
                assertThat(file.lora().modules().get("unet.a.attn2.to_q").alpha())
                        .as(key)
                        .isEqualTo(8);
            }
        }
        String deep = "unet." + "a.".repeat(40) + "to_q";
        for (String key : List.of("(", "(a|\\.|a\\.)*b\\2")) {
            String metadata = Json.canonical(Map.of("unet.lora_alpha", 2, "unet.alpha_pattern", Map.of(key, 8)));
            Path file = file(
                    Map.of(deep + ".lora_A.weight", List.of(4L, 8L), deep + ".lora_B.weight", List.of(6L, 4L)),
                    Map.of(PeftFile.METADATA, metadata));
            assertThatThrownBy(() -> LoraFile.open(file)).as(key).isInstanceOf(ModelException.class);
        }
    }

    /// PEFT's save_pretrained writes a folder with weights and config.
    @Test
    void peftFoldersAreRead() throws IOException {
        Path folder = Files.createDirectory(temporary.resolve("adapter"));
        Path file = file(
                Map.of(
                        "base_model.model.conv_in.lora_A.weight", List.of(4L, 8L, 3L, 3L),
                        "base_model.model.conv_in.lora_B.weight", List.of(6L, 4L, 1L, 1L)),
                Map.of());
        Files.move(file, folder.resolve("adapter_model.safetensors"));
        Json.write(folder.resolve("adapter_config.json"), Map.of("r", 4, "lora_alpha", 2, "use_dora", false));
        try (LoraFile lora = LoraFile.open(folder)) {
            assertThat(lora.lora().modules().get("unet.conv_in").scale()).isEqualTo(0.5);
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "unet.base_model.model.conv_in.lora_A.weight",
                "base_model.model.unet.conv_in.lora_A.weight",
                "unet.conv_in.lora_A.mine.weight",
                "lora_unet_conv_in.lora_A.weight"
            })
    void theSameModuleUnderOtherNamesIsRead(String down) throws IOException {
        Path file = file(
                Map.of(down, List.of(4L, 8L, 3L, 3L), down.replace("lora_A", "lora_B"), List.of(6L, 4L, 1L, 1L)),
                Map.of());
        try (LoraFile lora = LoraFile.open(file)) {
            assertThat(lora.lora().modules()).containsOnlyKeys("unet.conv_in");
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "lora_unet_conv_in.dora_scale",
                "unet.conv_in.lora_magnitude_vector",
                "lora_unet_conv_in.hada_w1_a",
                "lora_unet_conv_in.lora_mid.weight",
                "lora_unet_what_is_this.lora_up.weight",
                "lora_other_conv_in.alpha",
                "unet.conv_in.lora_A.bias",
                "unet.conv_out.lora_A.weight"
            })
    void adaptersThatWeDoNotSupportAreNamed(String tensor) throws IOException {
        boolean kohya = tensor.startsWith("lora_");
        Map<String, List<Long>> shapes = new TreeMap<>(Map.of(
                kohya ? "lora_unet_conv_in.lora_down.weight" : "unet.conv_in.lora_A.weight", List.of(4L, 8L),
                kohya ? "lora_unet_conv_in.lora_up.weight" : "unet.conv_in.lora_B.weight", List.of(6L, 4L)));
        shapes.put(tensor, List.of(4L, 8L));
        if (tensor.equals("lora_unet_what_is_this.lora_up.weight")) {
            shapes.put("lora_unet_what_is_this.lora_down.weight", List.of(4L, 8L));
        }
        Path file = file(shapes, Map.of());
        assertThatThrownBy(() -> LoraFile.open(file))
                .isInstanceOf(ModelException.class)
                .hasMessageContaining(file.toString())
                .hasMessageContaining(tensor.replaceAll("\\.(lora_|alpha).*", ""));
    }

    @Test
    void shapesThatDoNotFitAreNamed() throws IOException {
        Path file = file(
                Map.of("unet.conv_in.lora_A.weight", List.of(4L, 8L), "unet.conv_in.lora_B.weight", List.of(6L, 5L)),
                Map.of());
        assertThatThrownBy(() -> LoraFile.open(file))
                .hasMessageContaining("rank 4")
                .hasMessageContaining("[6, 5]");
        Path dora = file(
                Map.of("unet.conv_in.lora_A.weight", List.of(4L, 8L), "unet.conv_in.lora_B.weight", List.of(6L, 4L)),
                Map.of(PeftFile.METADATA, "{\"unet.use_dora\": true}"));
        assertThatThrownBy(() -> LoraFile.open(dora)).hasMessageContaining("use_dora");
    }
}
