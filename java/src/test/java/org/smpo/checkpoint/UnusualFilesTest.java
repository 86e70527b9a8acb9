package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.smpo.io.DType;

/// Files of unusual but sound content, which public tools read and which must go on opening.
class UnusualFilesTest {
    @TempDir
    private Path temporary;

    private static Map<String, String> digests(ModelFiles model) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        for (Component component : model.components().values()) {
            digests.put(component.name(), component.sha256());
        }
        return digests;
    }

    private static SingleFile.Options configs(Path folder) {
        return new SingleFile.Options(folder, null, "--config");
    }

    /// The weights of a model under the names of a checkpoint.
    private List<Weight> checkpoint(ModelFiles model) throws IOException {
        Path file = temporary.resolve("plain.safetensors");
        SingleFileWriter.write(model, file, null, Map.of());
        List<Weight> weights = new ArrayList<>();
        try (var opened = org.smpo.io.Safetensors.open(file)) {
            for (var entry : opened.entries()) {
                weights.add(Weight.of(
                        entry.name(),
                        entry.dtype(),
                        entry.shape(),
                        opened.segment(entry).toArray(java.lang.foreign.ValueLayout.JAVA_BYTE)));
            }
        }
        return weights;
    }

    @Test
    void aCheckpointOfDoublesIsTheModelOfItsFloats() throws IOException {
        Path in = TinyModels.write(temporary.resolve("in"), Family.SD1);
        Path wide = temporary.resolve("wide.safetensors");
        Path narrow = temporary.resolve("narrow");
        try (ModelFiles model = ModelFolder.open(in)) {
            Weight.writeAll(wide, checkpoint(model), DType.F64, Map.of());
            try (ModelFiles opened = SingleFile.open(wide, configs(in))) {
                assertThat(opened.component("unet")
                                .weights()
                                .get("conv_in.bias")
                                .dtype())
                        .isEqualTo(DType.F64);
                FolderWriter.write(opened, narrow, new FolderWriter.Options(DType.F32, null, 1L << 30));
            }
            try (ModelFiles back = ModelFolder.open(narrow)) {
                assertThat(digests(back)).isEqualTo(digests(model));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"I64", "I32", "F32", "F16", "BF16"})
    void positionIdsMayHaveAnyDtype(DType dtype) throws IOException {
        Path in = TinyModels.write(temporary.resolve("in"), Family.SD1);
        Path file = temporary.resolve("with.safetensors");
        String name = "cond_stage_model.transformer.text_model.embeddings.position_ids";
        try (ModelFiles model = ModelFolder.open(in)) {
            List<Weight> weights = checkpoint(model);
            weights.add(Weight.of(name, dtype, List.of(1L, 77L), new byte[77 * dtype.bytes()]));
            Weight.writeAll(file, weights, null, Map.of());
            try (ModelFiles opened = SingleFile.open(file, configs(in))) {
                assertThat(digests(opened)).isEqualTo(digests(model));
                assertThat(opened.ignored()).singleElement().asString().contains("position_ids");
            }
        }
    }

    /// CLIP's keys without `text_model.`, as checkpoints have them that a newer transformers saved.
    @Test
    void aCheckpointMayHaveFlattenedKeysOfClip() throws IOException {
        Path in = TinyModels.write(temporary.resolve("in"), Family.SD1);
        Path file = temporary.resolve("flat.safetensors");
        try (ModelFiles model = ModelFolder.open(in)) {
            List<Weight> weights = new ArrayList<>();
            for (Weight weight : checkpoint(model)) {
                weights.add(weight.named(weight.name().replace("transformer.text_model.", "transformer.")));
            }
            Weight.writeAll(file, weights, null, Map.of());
            try (ModelFiles opened = SingleFile.open(file, configs(in))) {
                assertThat(digests(opened)).isEqualTo(digests(model));
            }
        }
    }

    /// SDXL through a checkpoint and back, with the EMA's copies of another trainer beside the weights.
    @Test
    void anSdxlCheckpointWithEmaCopiesIsTheSameModel() throws IOException {
        Path in = TinyModels.write(temporary.resolve("in"), Family.SDXL);
        Path file = temporary.resolve("ema.safetensors");
        try (ModelFiles model = ModelFolder.open(in)) {
            List<Weight> weights = checkpoint(model);
            for (Weight weight : List.copyOf(weights)) {
                if (weight.name().startsWith("model.diffusion_model.time_embed.")) {
                    weights.add(weight.named(
                            "model_ema." + weight.name().substring(6).replace(".", "")));
                }
            }
            Weight.writeAll(file, weights, null, Map.of());
            try (ModelFiles opened = SingleFile.open(file, configs(in))) {
                assertThat(digests(opened)).isEqualTo(digests(model));
                assertThat(opened.ignored()).hasSize(4).allMatch(name -> name.contains("model_ema."));
            }
        }
    }

    /// SDXL's offset LoRA adapts the projections and the embeddings of time, whose names are those of the original
    /// code.
    @Test
    void theNamesOfTheOffsetLoraAreRead() throws IOException {
        List<Weight> weights = new ArrayList<>();
        Map<String, String> modules = new TreeMap<>(Map.of(
                "lora_unet_input_blocks_1_0_emb_layers_1", "unet.down_blocks.0.resnets.0.time_emb_proj",
                "lora_unet_input_blocks_4_1_proj_in", "unet.down_blocks.1.attentions.0.proj_in",
                "lora_unet_time_embed_0", "unet.time_embedding.linear_1",
                "lora_unet_label_emb_0_0", "unet.add_embedding.linear_1",
                "lora_unet_out_2", "unet.conv_out",
                "lora_unet_input_blocks_0_0", "unet.conv_in"));
        for (String name : modules.keySet()) {
            weights.add(TinyModels.weight(name + ".lora_down.weight", List.of(4L, 8L)));
            weights.add(TinyModels.weight(name + ".lora_up.weight", List.of(6L, 4L)));
            weights.add(TinyModels.weight(name + ".alpha", List.of()));
        }
        Path file = temporary.resolve("offset.safetensors");
        Weight.writeAll(file, weights, null, Map.of());
        Path in = TinyModels.write(temporary.resolve("in"), Family.SDXL);
        try (ModelFiles model = ModelFolder.open(in);
                LoraFile opened = LoraFile.open(file, model.unet())) {
            assertThat(opened.lora().modules().keySet()).containsExactlyInAnyOrderElementsOf(modules.values());
        }
    }
}
