package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.Safetensors;
import org.smpo.io.TensorEntry;
import org.smpo.schedule.PredictionType;

final class ModelFilesTest {
    @TempDir
    private Path temporary;

    private Path tiny(Family family) throws IOException {
        return TinyModels.write(temporary.resolve("tiny-" + family.id()), family);
    }

    private static Map<String, byte[]> bytes(Path folder) throws IOException {
        Map<String, byte[]> bytes = new TreeMap<>();
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                bytes.put(folder.relativize(file).toString(), Files.readAllBytes(file));
            }
        }
        return bytes;
    }

    private static void assertSameFiles(Path actual, Path expected) throws IOException {
        Map<String, byte[]> a = bytes(actual);
        Map<String, byte[]> e = bytes(expected);
        assertThat(a.keySet()).isEqualTo(e.keySet());
        a.forEach((name, content) -> assertThat(content).as(name).isEqualTo(e.get(name)));
    }

    private static Map<String, String> digests(ModelFiles model) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        for (Component component : model.components().values()) {
            digests.put(component.name(), component.sha256());
        }
        return digests;
    }

    /// Replaces the first element of a tensor in a file.
    private static void poke(Path file, String tensor, float value) throws IOException {
        TensorEntry entry;
        try (Safetensors safetensors = Safetensors.open(file)) {
            entry = safetensors.entry(tensor);
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            ByteBuffer bytes =
                    ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, value);
            channel.write(bytes, entry.offset());
        }
    }

    @ParameterizedTest
    @EnumSource
    void foldersOpenWithEverythingInThem(Family family) throws IOException {
        try (ModelFiles model = ModelFolder.open(tiny(family))) {
            assertThat(model.family()).contains(family);
            assertThat(model.components().keySet()).containsAll(family.textEncoders());
            assertThat(model.schedule().predictionType())
                    .isEqualTo(family == Family.SD2 ? PredictionType.V_PREDICTION : PredictionType.EPSILON);
            assertThat(model.tokenizer(family.textEncoders().get(0).replace("text_encoder", "tokenizer")))
                    .isPresent();
            for (Component component : model.components().values()) {
                assertThat(List.copyOf(component.weights().keySet()))
                        .isEqualTo(List.copyOf(component.config().parameters().keySet()));
            }
            assertThat(model.component(family.textEncoders().get(0)).config().unknownKeys())
                    .containsExactly("a_key_of_tomorrow");
        }
    }

    @ParameterizedTest
    @EnumSource
    void aFolderWrittenUnchangedIsTheSameToTheByte(Family family) throws IOException {
        Path in = tiny(family);
        Path out = temporary.resolve("out");
        try (ModelFiles model = ModelFolder.open(in)) {
            FolderWriter.write(model, out, FolderWriter.Options.unchanged());
        }
        assertSameFiles(out, in);

        // The comparison detects one changed bit.
        poke(out.resolve("unet/diffusion_pytorch_model.safetensors"), "conv_in.bias", 0.25f);
        assertThatThrownBy(() -> assertSameFiles(out, in)).isInstanceOf(AssertionError.class);
    }

    @ParameterizedTest
    @EnumSource
    void aCheckpointGivesTheFolderBackToTheByte(Family family) throws IOException {
        Path in = tiny(family);
        Path checkpoint = temporary.resolve("model.safetensors");
        Path out = temporary.resolve("out");
        try (ModelFiles model = ModelFolder.open(in)) {
            SingleFileWriter.write(model, checkpoint, null, Map.of());
        }
        try (ModelFiles model = SingleFile.open(checkpoint, new SingleFile.Options(in, null, null))) {
            assertThat(model.family()).contains(family);
            assertThat(model.ignored()).isEmpty();
            FolderWriter.write(model, out, FolderWriter.Options.unchanged());
        }
        assertSameFiles(out, in);

        // Converting the folder restores the checkpoint.
        Path again = temporary.resolve("again.safetensors");
        try (ModelFiles model = ModelFolder.open(out)) {
            SingleFileWriter.write(model, again, null, Map.of());
        }
        assertThat(again).hasSameBinaryContentAs(checkpoint);
    }

    @Test
    void checkpointsHaveTheNamesAndShapesOfTheirCode() throws IOException {
        Path checkpoint = temporary.resolve("model.safetensors");
        try (ModelFiles model = ModelFolder.open(tiny(Family.SDXL))) {
            SingleFileWriter.write(model, checkpoint, null, Map.of());
            try (Safetensors file = Safetensors.open(checkpoint)) {
                assertThat(file.entry("first_stage_model.encoder.mid.attn_1.q.weight")
                                .shape())
                        .containsExactly(48L, 48L, 1L, 1L);
                String text = "conditioner.embedders.1.model.";
                assertThat(file.entry(text + "transformer.resblocks.0.attn.in_proj_weight")
                                .shape())
                        .containsExactly(120L, 40L);
                assertThat(file.entry(text + "text_projection").shape()).containsExactly(40L, 24L);
                Weight projection = model.component("text_encoder_2").weights().get("text_projection.weight");
                MemorySegment theirs = file.segment(text + "text_projection");
                double[] ours = projection.toDoubles();
                for (int i = 0; i < 24; i++) {
                    for (int j = 0; j < 40; j++) {
                        assertThat((double) theirs.getAtIndex(
                                        java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED, j * 24 + i))
                                .isEqualTo(ours[i * 40 + j]);
                    }
                }
                assertThat(file.metadata()).containsEntry("modelspec.architecture", "stable-diffusion-xl-v1-base");
            }
        }
    }

    /// SD 2's published file has one layer more than its diffusers folder, a projection that it does not
    /// use, and buffers.
    @Test
    void tensorsThatTheModelDoesNotUseAreDropped() throws IOException {
        Path in = tiny(Family.SD2);
        Path checkpoint = temporary.resolve("model.safetensors");
        List<Weight> weights = new ArrayList<>();
        String tower = "cond_stage_model.model.";
        try (ModelFiles model = ModelFolder.open(in)) {
            SingleFileWriter.write(model, checkpoint, null, Map.of());
            try (Safetensors file = Safetensors.open(checkpoint)) {
                for (TensorEntry entry : file.entries()) {
                    weights.add(Weight.of(
                            entry.name(),
                            entry.dtype(),
                            entry.shape(),
                            file.segment(entry).toArray(java.lang.foreign.ValueLayout.JAVA_BYTE)));
                }
            }
            for (Weight weight : List.copyOf(weights)) {
                if (weight.name().startsWith(tower + "transformer.resblocks.3.")) {
                    weights.add(weight.named(weight.name().replace("resblocks.3.", "resblocks.4.")));
                }
            }
            weights.add(TinyModels.weight(tower + "text_projection", List.of(40L, 24L)));
            weights.add(TinyModels.weight(tower + "logit_scale", List.of()));
            weights.add(TinyModels.weight("alphas_cumprod", List.of(1000L)));
            weights.add(TinyModels.weight("model_ema.decay", List.of()));
            weights.add(TinyModels.weight("model_ema.diffusion_modelinput_blocks00weight", List.of(3L)));
            Path whole = temporary.resolve("whole.safetensors");
            Weight.writeAll(whole, weights, null, Map.of());
            try (ModelFiles opened = SingleFile.open(whole, new SingleFile.Options(in, null, null))) {
                assertThat(digests(opened)).isEqualTo(digests(model));
                assertThat(opened.ignored()).hasSize(12 + 1 + 1 + 1 + 2).contains("alphas_cumprod");
            }
        }
    }

    @Test
    void predictionTypeComesFromTheFileTheCallerOrTheFamily() throws IOException {
        Path in = tiny(Family.SDXL);
        Path checkpoint = temporary.resolve("model.safetensors");
        try (ModelFiles model = ModelFolder.open(in)) {
            SingleFileWriter.write(model, checkpoint, null, Map.of());
        }
        try (ModelFiles model =
                SingleFile.open(checkpoint, new SingleFile.Options(in, PredictionType.V_PREDICTION, null))) {
            assertThat(model.schedule().predictionType()).isEqualTo(PredictionType.V_PREDICTION);
            Path v = temporary.resolve("v.safetensors");
            SingleFileWriter.write(model, v, null, Map.of());
            try (Safetensors file = Safetensors.open(v)) {
                assertThat(file.metadata()).containsEntry("modelspec.prediction_type", "v");
            }
        }
    }

    @Test
    void shardsAndVariantsAreWrittenAndReadUnderBothNames() throws IOException {
        Path in = tiny(Family.SD1);
        Path out = temporary.resolve("sharded");
        Map<String, String> expected;
        try (ModelFiles model = ModelFolder.open(in)) {
            expected = digests(model);
            FolderWriter.write(model, out, new FolderWriter.Options(null, "fp16", 200_000));
        }
        Path unet = out.resolve("unet");
        assertThat(unet.resolve("diffusion_pytorch_model.safetensors.index.fp16.json"))
                .exists();
        List<Path> shards;
        try (Stream<Path> files = Files.list(unet)) {
            shards = files.filter(f -> f.toString().endsWith(".safetensors"))
                    .sorted()
                    .toList();
        }
        assertThat(shards.size()).isGreaterThan(2);
        assertThat(shards.get(0).getFileName().toString())
                .isEqualTo(String.format("diffusion_pytorch_model.fp16-00001-of-%05d.safetensors", shards.size()));
        assertThat(Json.readObject(unet.resolve("diffusion_pytorch_model.safetensors.index.fp16.json"))
                        .object("metadata")
                        .integer("total_size"))
                .isEqualTo(4 * ModelFolder.unetConfig(in).parameterCount());
        try (ModelFiles model = ModelFolder.open(out)) {
            assertThat(digests(model)).isEqualTo(expected);
        }
        try (ModelFiles model = ModelFolder.open(out, "fp16")) {
            assertThat(digests(model)).isEqualTo(expected);
        }
        assertThatThrownBy(() -> ModelFolder.open(in, "fp16")).hasMessageContaining("variant \"fp16\"");

        // Names that older versions of diffusers used.
        Path index = unet.resolve("diffusion_pytorch_model.safetensors.index.fp16.json");
        Files.writeString(
                unet.resolve("diffusion_pytorch_model.safetensors.fp16.index.json"),
                Files.readString(index).replaceAll("model\\.fp16(-\\d+-of-\\d+)", "model$1.fp16"));
        Files.delete(index);
        for (Path shard : shards) {
            String old = shard.getFileName().toString().replaceAll("model\\.fp16(-\\d+-of-\\d+)", "model$1.fp16");
            Files.move(shard, shard.resolveSibling(old));
        }
        try (ModelFiles model = ModelFolder.open(out)) {
            assertThat(digests(model)).isEqualTo(expected);
        }
    }

    @Test
    void narrowTypesAreWrittenAndNamedInTheConfigs() throws IOException {
        Path in = tiny(Family.SDXL);
        for (DType dtype : List.of(DType.F16, DType.BF16)) {
            Path out = temporary.resolve(dtype.name());
            try (ModelFiles model = ModelFolder.open(in)) {
                FolderWriter.write(model, out, new FolderWriter.Options(dtype, null, 1L << 40));
            }
            try (ModelFiles model = ModelFolder.open(out)) {
                for (Component component : model.components().values()) {
                    assertThat(component.parametersByType().keySet()).containsExactly(dtype);
                }
            }
            assertThat(Json.readObject(out.resolve("text_encoder/config.json")).asMap())
                    .containsEntry("torch_dtype", dtype == DType.F16 ? "float16" : "bfloat16")
                    .containsEntry("a_key_of_tomorrow", List.of(1L, 2.5));
            assertThat(out.resolve("vae/config.json")).hasSameBinaryContentAs(in.resolve("vae/config.json"));
        }
    }

    @Test
    void oldNamesOfTextTowersAndVaesAreRead() throws IOException {
        Path in = tiny(Family.SD1);
        Map<String, String> expected;
        Path text = in.resolve("text_encoder/model.safetensors");
        Path vae = in.resolve("vae/diffusion_pytorch_model.safetensors");
        List<Weight> bare = new ArrayList<>();
        List<Weight> old = new ArrayList<>();
        try (ModelFiles model = ModelFolder.open(in)) {
            expected = digests(model);
            for (Weight weight : model.component("text_encoder").weights().values()) {
                bare.add(weight.named(weight.name().substring("text_model.".length())));
            }
            bare.add(TinyModels.weight("embeddings.position_ids", List.of(1L, 77L)));
            for (Weight weight : model.component("vae").weights().values()) {
                String name = weight.name();
                if (name.contains(".attentions.")) {
                    name = name.replace("to_q", "query")
                            .replace("to_k", "key")
                            .replace("to_v", "value")
                            .replace("to_out.0", "proj_attn");
                }
                List<Long> shape = weight.shape();
                old.add((name.contains(".query.weight")
                                ? weight.reshaped(List.of(shape.get(0), shape.get(1), 1L, 1L))
                                : weight)
                        .named(name));
            }
            Weight.writeAll(temporary.resolve("text"), bare, null, Map.of());
            Weight.writeAll(temporary.resolve("vae"), old, null, Map.of());
        }
        Files.delete(text);
        Files.delete(vae);
        Files.move(temporary.resolve("text"), text);
        Files.move(temporary.resolve("vae"), vae);
        try (ModelFiles model = ModelFolder.open(in)) {
            assertThat(digests(model)).isEqualTo(expected);
            assertThat(model.ignored()).containsExactly("text_encoder: embeddings.position_ids");
        }
    }

    @Test
    void oneComponentsFolderOpensToo() throws IOException {
        try (ModelFiles model = ModelFolder.open(tiny(Family.SD1).resolve("unet"))) {
            assertThat(model.family()).isEmpty();
            assertThat(model.components().keySet()).containsExactly("unet");
            FolderWriter.write(model, temporary.resolve("unet-2"), FolderWriter.Options.unchanged());
        }
        assertSameFiles(temporary.resolve("unet-2"), temporary.resolve("tiny-sd1/unet"));
    }

    /// The contents are tested in TorchCheckpointTest.
    @Test
    void whatIsNeitherFormatIsRefused() throws IOException {
        Path in = tiny(Family.SD1);
        Path bin = in.resolve("unet/diffusion_pytorch_model.bin");
        Files.delete(in.resolve("unet/diffusion_pytorch_model.safetensors"));
        Files.writeString(bin, "not a ZIP file at all");
        assertThatThrownBy(() -> ModelFolder.open(in))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("diffusion_pytorch_model.bin")
                .hasMessageContaining("expected a ZIP file of torch.save");
        Path checkpoint = Files.writeString(temporary.resolve("model.ckpt"), "PK\003\004 and more");
        assertThatThrownBy(() -> SingleFile.open(checkpoint))
                .hasMessageContaining("model.ckpt")
                .hasMessageContaining("ZIP directory: expected an end record");
    }

    @Test
    void missingUnexpectedAndWrongTensorsAreAllNamed() throws IOException {
        Path in = tiny(Family.SD1);
        Path file = in.resolve("unet/diffusion_pytorch_model.safetensors");
        List<Weight> weights = new ArrayList<>();
        Map<String, List<Long>> parameters =
                new LinkedHashMap<>(ModelFolder.unetConfig(in).parameters());
        parameters.remove("conv_out.bias");
        parameters.put("conv_in.bias", List.of(17L));
        parameters.put("what.is.this", List.of(1L));
        parameters.forEach((name, shape) -> weights.add(TinyModels.weight(name, shape)));
        Files.delete(file);
        Weight.writeAll(file, weights, null, Map.of());
        assertThatThrownBy(() -> ModelFolder.open(in))
                .isInstanceOf(ModelException.class)
                .hasMessageContaining("unet")
                .hasMessageContaining("1 missing: conv_out.bias")
                .hasMessageContaining("1 unexpected: what.is.this")
                .hasMessageContaining("1 wrong: conv_in.bias is [17], expected [16]");
    }

    /// Tensors that web UIs and trainers leave in merged checkpoints and folders.
    @Test
    void extraTensorsAreLeftOutAndNoticed() throws IOException {
        Path in = tiny(Family.SD1);
        Path file = in.resolve("unet/diffusion_pytorch_model.safetensors");
        List<Weight> weights = new ArrayList<>();
        ModelFolder.unetConfig(in).parameters().forEach((name, shape) -> weights.add(TinyModels.weight(name, shape)));
        weights.add(TinyModels.weight("what.is.this", List.of(1L)));
        Files.delete(file);
        Weight.writeAll(file, weights, null, Map.of());
        Path single = temporary.resolve("single.safetensors");
        try (ModelFiles model = ModelFolder.open(in)) {
            assertThat(model.ignored()).containsExactly("what.is.this");
            assertThat(model.notices())
                    .containsExactly("unet: 1 tensor is not part of the model and left out, such as what.is.this");
            SingleFileWriter.write(model, single, null, Map.of());
        }
        String projection = "cond_stage_model.transformer.text_projection.weight";
        Path extra = temporary.resolve("extra.safetensors");
        try (Safetensors plain = Safetensors.open(single)) {
            List<Weight> all = Weight.all(plain);
            all.add(TinyModels.weight(projection, List.of(3L, 3L)));
            all.add(TinyModels.weight("iteration", List.of(1L)));
            Weight.writeAll(extra, all, null, plain.metadata());
        }
        try (ModelFiles model = SingleFile.open(extra, new SingleFile.Options(in, null, null));
                ModelFiles plain = SingleFile.open(single, new SingleFile.Options(in, null, null))) {
            assertThat(model.ignored()).containsExactly(projection, "iteration");
            assertThat(model.notices()).hasSize(2);
            assertThat(plain.notices()).isEmpty();
            for (String name : plain.components().keySet()) {
                assertThat(model.sha256(name)).isEqualTo(plain.sha256(name));
            }
        }
    }

    /// A folder whose index lists a missing file, or which is empty, or which holds only pickles.
    @Test
    void componentsThatNothingNeedsMayBeAbsent() throws IOException {
        Path in = tiny(Family.SD1);
        Map<String, Object> index = new LinkedHashMap<>(
                Json.readObject(in.resolve("model_index.json")).asMap());
        index.put("safety_checker", List.of("stable_diffusion", "StableDiffusionSafetyChecker"));
        index.put("feature_extractor", List.of("transformers", "CLIPImageProcessor"));
        Json.write(in.resolve("model_index.json"), index);
        Path out = temporary.resolve("out");
        Files.createDirectories(in.resolve("feature_extractor"));
        assertLeavesOut(in, out, "safety_checker", "feature_extractor");

        Files.createDirectories(in.resolve("safety_checker"));
        Files.writeString(in.resolve("safety_checker/config.json"), "{}");
        Files.writeString(in.resolve("safety_checker/pytorch_model.bin"), "PK");
        assertLeavesOut(in, temporary.resolve("again"), "safety_checker", "feature_extractor");
    }

    private static void assertLeavesOut(Path in, Path out, String... names) throws IOException {
        try (ModelFiles model = ModelFolder.open(in)) {
            for (String name : names) {
                assertThat(model.notices()).anyMatch(line -> line.startsWith(name + ": left out"));
            }
            FolderWriter.write(model, out, FolderWriter.Options.unchanged());
        }
        Map<String, Object> written =
                Json.readObject(out.resolve("model_index.json")).asMap();
        for (String name : names) {
            assertThat(written.get(name)).isEqualTo(java.util.Arrays.asList(null, null));
            assertThat(out.resolve(name)).doesNotExist();
        }
        try (ModelFiles model = ModelFolder.open(out)) {
            assertThat(model.notices()).isEmpty();
        }
    }

    /// Web UIs detect a checkpoint's prediction type from these keys.
    @Test
    void marksOfVPredictionAndZeroSnrAreWrittenAndWin() throws IOException {
        Path plain = tiny(Family.SD1);
        Path v = TinyModels.write(temporary.resolve("v"), Family.SD1);
        Path scheduler = v.resolve("scheduler/scheduler_config.json");
        Map<String, Object> config =
                new LinkedHashMap<>(Json.readObject(scheduler).asMap());
        config.put("_class_name", "DDIMScheduler");
        config.put("prediction_type", "v_prediction");
        config.put("rescale_betas_zero_snr", true);
        Json.write(scheduler, config);
        Path marked = temporary.resolve("marked.safetensors");
        try (ModelFiles model = ModelFolder.open(v)) {
            SingleFileWriter.write(model, marked, null, Map.of());
        }
        try (Safetensors file = Safetensors.open(marked)) {
            assertThat(file.find("v_pred")).isPresent();
            assertThat(file.find("ztsnr")).isPresent();
        }
        Path folder = temporary.resolve("folder");
        try (ModelFiles model = SingleFile.open(marked, new SingleFile.Options(plain, null, null))) {
            assertThat(model.schedule().predictionType()).isEqualTo(PredictionType.V_PREDICTION);
            assertThat(model.schedule().zeroTerminalSnr()).isTrue();
            assertThat(model.notices()).anyMatch(line -> line.contains("v_prediction as the file is marked"));
            FolderWriter.write(model, folder, FolderWriter.Options.unchanged());
        }
        try (ModelFiles model = ModelFolder.open(folder)) {
            assertThat(model.schedule().predictionType()).isEqualTo(PredictionType.V_PREDICTION);
            assertThat(model.schedule().zeroTerminalSnr()).isTrue();
        }
    }

    @Test
    void aFileWithoutVaeTakesThatOfTheConfigs() throws IOException {
        Path in = tiny(Family.SD1);
        Path single = temporary.resolve("single.safetensors");
        Path bare = temporary.resolve("bare.safetensors");
        try (ModelFiles model = ModelFolder.open(in)) {
            SingleFileWriter.write(model, single, null, Map.of());
        }
        try (Safetensors file = Safetensors.open(single)) {
            List<Weight> rest = Weight.all(file);
            rest.removeIf(weight -> weight.name().startsWith("first_stage_model."));
            Weight.writeAll(bare, rest, null, file.metadata());
        }
        try (ModelFiles model = SingleFile.open(bare, new SingleFile.Options(in, null, null));
                ModelFiles whole = ModelFolder.open(in)) {
            assertThat(model.sha256("vae")).isEqualTo(whole.sha256("vae"));
            assertThat(model.notices()).anyMatch(line -> line.startsWith("vae: the file has none"));
        }
    }

    @Test
    void filesThatAreNotWeightsAreNamedForWhatTheyAre() throws IOException {
        Path in = tiny(Family.SD1);
        Path file = in.resolve("unet/diffusion_pytorch_model.safetensors");
        Files.writeString(file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3438167534\n");
        assertThatThrownBy(() -> ModelFolder.open(in)).hasMessageContaining("git lfs pull");
        Files.writeString(file, "<!DOCTYPE html><html><body>Sign in</body></html>");
        assertThatThrownBy(() -> ModelFolder.open(in)).hasMessageContaining("web page (HTML)");
    }

    @Test
    void brokenShardsAndIndexesAreNamed() throws IOException {
        Path out = temporary.resolve("sharded");
        try (ModelFiles model = ModelFolder.open(tiny(Family.SD1))) {
            FolderWriter.write(model, out, new FolderWriter.Options(null, null, 200_000));
        }
        Path index = out.resolve("unet/diffusion_pytorch_model.safetensors.index.json");
        Path shard;
        try (Stream<Path> files = Files.list(out.resolve("unet"))) {
            shard = files.filter(f -> f.toString().contains("-00002-of-"))
                    .findFirst()
                    .orElseThrow();
        }
        byte[] whole = Files.readAllBytes(shard);
        Files.write(shard, java.util.Arrays.copyOf(whole, whole.length - 5));
        assertThatThrownBy(() -> ModelFolder.open(out))
                .isInstanceOf(IOException.class)
                .hasMessageContaining(shard.getFileName().toString());
        Files.delete(shard);
        assertThatThrownBy(() -> ModelFolder.open(out))
                .hasMessageContaining(index.toString())
                .hasMessageContaining(shard.getFileName().toString());
        Files.write(shard, whole);
        String text = Files.readString(index);
        Files.writeString(
                index, text.replaceFirst("\"conv_in.weight\": \"[^\"]*\"", "\"conv_in.weight\": \"../x.safetensors\""));
        assertThatThrownBy(() -> ModelFolder.open(out))
                .hasMessageContaining("conv_in.weight")
                .hasMessageContaining("../x.safetensors");
        Files.writeString(index, text.replaceFirst("\"conv_in.weight\"", "\"conv_up.weight\""));
        assertThatThrownBy(() -> ModelFolder.open(out)).hasMessageContaining("conv_in.weight");
        Files.delete(index);
        assertThatThrownBy(() -> ModelFolder.open(out)).hasMessageContaining("index.json");
    }

    @Test
    void weightsThatAreNotNumbersAreNamedAndNothingIsWritten() throws IOException {
        Path in = tiny(Family.SD1);
        poke(in.resolve("vae/diffusion_pytorch_model.safetensors"), "decoder.conv_in.bias", Float.NaN);
        Path out = temporary.resolve("out");
        try (ModelFiles model = ModelFolder.open(in)) {
            assertThatThrownBy(() -> model.component("vae").sha256())
                    .isInstanceOf(ModelException.class)
                    .hasMessageContaining("decoder.conv_in.bias")
                    .hasMessageContaining("NaN");
            assertThatThrownBy(() -> FolderWriter.write(model, out, FolderWriter.Options.unchanged()))
                    .hasMessageContaining("decoder.conv_in.bias");
        }
        assertThat(out).doesNotExist();
        poke(in.resolve("vae/diffusion_pytorch_model.safetensors"), "decoder.conv_in.bias", 1e30f);
        try (ModelFiles model = ModelFolder.open(in)) {
            assertThatThrownBy(
                            () -> FolderWriter.write(model, out, new FolderWriter.Options(DType.F16, null, 1L << 40)))
                    .hasMessageContaining("decoder.conv_in.bias")
                    .hasMessageContaining("F16");
        }
    }

    @Test
    void checkpointsThatWeDoNotSupportAreNamed() throws IOException {
        Path file = temporary.resolve("model.safetensors");
        record Case(String tensor, List<Long> shape, String expected) {}
        String in = "model.diffusion_model.input_blocks.0.0.weight";
        for (Case test : List.of(
                new Case(in, List.of(4L, 9L, 3L, 3L), "inpainting"),
                new Case(in, List.of(4L, 8L, 3L, 3L), "editing"),
                new Case(in, List.of(4L, 4L, 3L, 3L), "no text encoder"),
                new Case("unet.conv_in.lora_A.weight", List.of(4L, 4L), "LoRA"),
                new Case("down_blocks.0.resnets.0.conv1.weight", List.of(4L), "component"),
                new Case("double_blocks.0.img_attn.qkv.weight", List.of(4L), "transformer"))) {
            Files.deleteIfExists(file);
            Weight.writeAll(file, List.of(TinyModels.weight(test.tensor(), test.shape())), null, Map.of());
            assertThatThrownBy(() -> SingleFile.open(file))
                    .isInstanceOf(ModelException.class)
                    .hasMessageContaining(file.toString())
                    .hasMessageContaining(test.expected());
        }
        // A checkpoint of tiny sizes does not fit the published configs; the message says what to do.
        Path checkpoint = temporary.resolve("tiny.safetensors");
        try (ModelFiles model = ModelFolder.open(tiny(Family.SD1))) {
            SingleFileWriter.write(model, checkpoint, null, Map.of());
        }
        assertThatThrownBy(() -> SingleFile.open(checkpoint, new SingleFile.Options(null, null, "--")))
                .isInstanceOf(ModelException.class)
                .hasMessageContaining("name a diffusers folder that has its configs (--config)");
    }

    @Test
    void pipelinesAndPathsThatWeDoNotSupportAreNamed() throws IOException {
        Path in = tiny(Family.SD1);
        Path index = in.resolve("model_index.json");
        String text = Files.readString(index);
        Files.writeString(index, text.replace("StableDiffusionPipeline", "FluxPipeline"));
        assertThatThrownBy(() -> ModelFolder.open(in))
                .hasMessageContaining("_class_name")
                .hasMessageContaining("FluxPipeline");
        Files.writeString(index, text.replace("\"unet\"", "\"../unet\""));
        assertThatThrownBy(() -> ModelFolder.open(in)).hasMessageContaining("../unet");
        Files.writeString(index, text.replace("\"UNet2DConditionModel\"", "\"UNet3DConditionModel\""));
        assertThatThrownBy(() -> ModelFolder.open(in)).hasMessageContaining("UNet3DConditionModel");
        Files.writeString(index, text);
        Files.delete(in.resolve("text_encoder/config.json"));
        assertThatThrownBy(() -> ModelFolder.open(in))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("config.json");
        assertThatThrownBy(() -> ModelFolder.open(temporary.resolve("nothing"))).hasMessageContaining("found nothing");
        assertThatThrownBy(() -> ModelFolder.open(Files.createDirectory(temporary.resolve("empty"))))
                .hasMessageContaining("model_index.json");
    }
}
