package org.smpo.network;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.smpo.checkpoint.ClipModelConfig;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.TinyModels;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;

/// Cosine similarities of tiny CLIP models against those of transformers.
final class ClipModelTest {
    /// Tolerance: transformers' float32 results differ from its float64 results by up to 3.2e-7.
    private static final double TOLERANCE = 1e-6;

    @TempDir
    private Path temporary;

    private static double[][] cosines(ClipModel model) throws IOException {
        double[][] texts = model.embedTexts(TinyClip.golden().strings("captions"));
        double[][] images = model.embedImages(List.copyOf(TinyClip.images().values()));
        double[][] cosines = new double[texts.length][images.length];
        for (int i = 0; i < texts.length; i++) {
            for (int j = 0; j < images.length; j++) {
                cosines[i][j] = ClipModel.cosine(texts[i], images[j]);
            }
        }
        return cosines;
    }

    private static double largest(double[][] a, double[][] b) {
        double largest = 0;
        for (int i = 0; i < a.length; i++) {
            for (int j = 0; j < a[i].length; j++) {
                largest = Math.max(largest, Math.abs(a[i][j] - b[i][j]));
            }
        }
        return largest;
    }

    @ParameterizedTest
    @CsvSource({"vit_h, 1", "vit_l, 3"})
    void cosinesAreTransformers(String name, int shards) throws IOException {
        Path folder = TinyClip.write(temporary.resolve(name), name, shards);
        try (ClipModel model = ClipModel.open(folder, ClipProcessor.of(folder), "cpu", Precision.FP32, 2)) {
            double[][] got = cosines(model);
            double[][] exact = TinyClip.scores(name, "exact");
            assertThat(largest(got, exact)).isLessThan(TOLERANCE);
            assertThat(largest(got, TinyClip.scores(name, "scores"))).isLessThan(TOLERANCE);
            exact[2][3] += 2 * TOLERANCE;
            assertThat(largest(got, exact)).isGreaterThan(TOLERANCE);
            double logitScale = TinyClip.golden().object("models").object(name).number("logit_scale");
            assertThat(model.logitScale()).isEqualTo(logitScale);
        }
    }

    @Test
    void lowPrecisionIsCloseAndBatchesAgree() throws IOException {
        Path folder = TinyClip.write(temporary.resolve("model"), "vit_h", 1);
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(2));
                ClipModel model = ClipModel.open(engine, folder, ClipProcessor.of(folder), Precision.FP32);
                ClipModel coarse = ClipModel.open(engine, folder, ClipProcessor.of(folder), Precision.BF16)) {
            double[][] together = cosines(model);
            // bfloat16 has 8 bits: half a unit in the last place is 2^-9, and three layers add up.
            assertThat(largest(cosines(coarse), together)).isBetween(1e-6, 0.03);
            List<String> captions = TinyClip.golden().strings("captions");
            List<RgbImage> all = List.copyOf(TinyClip.images().values());
            for (int i = 0; i < captions.size(); i++) {
                double[] text = model.embedTexts(List.of(captions.get(i)))[0];
                double[] image = model.embedImages(List.of(all.get(i)))[0];
                assertThat(Math.abs(ClipModel.cosine(text, image) - together[i][i]))
                        .isLessThan(TOLERANCE);
                assertThat(ClipModel.cosine(text, text)).isBetween(1 - 1e-15, 1 + 1e-15);
            }
            assertThat(model.embedTexts(List.of())).isEmpty();
            assertThat(model.embedImages(List.of())).isEmpty();
            assertThatThrownBy(() -> model.embedPixels(List.of(new float[3])))
                    .hasMessage("pixel values 0: expected 3x42x42 numbers, got 3");
            assertThatThrownBy(() -> model.embedTexts(List.of("a", "\ud800"))).hasMessageContaining("prompt 1");
        }
    }

    @Test
    void theDigestIsOfWhatCounts() throws IOException {
        Path whole = TinyClip.write(temporary.resolve("whole"), "vit_h", 1);
        Path shards = TinyClip.write(temporary.resolve("shards"), "vit_h", 2);
        Path other = TinyClip.write(temporary.resolve("other"), "vit_l", 1);
        Path padded = TinyClip.write(temporary.resolve("padded"), "vit_h", 1);
        Files.writeString(
                padded.resolve("tokenizer_config.json"),
                Files.readString(padded.resolve("tokenizer_config.json")).replace("\"pad_token\"", "\"padding\""));
        List<String> digests = new ArrayList<>();
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1))) {
            for (Path folder : List.of(whole, shards, other, padded)) {
                try (ClipModel model = ClipModel.open(engine, folder, ClipProcessor.of(folder), Precision.FP32)) {
                    digests.add(model.digest());
                }
            }
        }
        assertThat(digests.get(0)).matches("[0-9a-f]{64}").isEqualTo(digests.get(1));
        assertThat(digests.subList(1, 4)).doesNotHaveDuplicates();
    }

    @Test
    void whatDoesNotFitIsAnError() throws IOException {
        Path folder = TinyClip.write(temporary.resolve("model"), "vit_h", 1);
        Files.writeString(folder.resolve("preprocessor_config.json"), "{}");
        assertThatThrownBy(() -> ClipModel.open(folder, ClipProcessor.of(folder), "cpu", Precision.FP32, 1))
                .isInstanceOf(ModelException.class)
                .hasMessageContaining("images of 42x42")
                .hasMessageContaining("shortest_edge 224");
        Map<String, Object> config = new LinkedHashMap<>(
                Json.readObject(folder.resolve("config.json")).asMap());
        config.put("projection_dim", 25L);
        Json.write(folder.resolve("config.json"), config);
        assertThatThrownBy(() -> ClipModel.open(folder, ClipProcessor.of(folder), "cpu", Precision.FP32, 1))
                .hasMessageContaining("2 wrong: text_projection.weight is [24, 32], expected [25, 32]");
        assertThatThrownBy(() -> ClipModel.open(folder, ClipProcessor.of(folder), "tpu", Precision.FP32, 1))
                .hasMessageContaining("tpu");
        Path text = temporary.resolve("text");
        TinyModels.component(text, TinyModels.golden("clip/vit_l").object("config"), "CLIPTextModel");
        assertThatThrownBy(() -> ClipModel.open(text, ClipProcessor.of(folder), "cpu", Precision.FP32, 1))
                .hasMessageContaining("vision tower: expected a CLIP model");
    }

    @Test
    void absentSectionsAndKeysAreTransformersDefaults() throws IOException {
        ClipModelConfig config = ClipModelConfig.parse(Json.parseObject("config.json", "{\"model_type\": \"clip\"}"));
        assertThat(config.text().hiddenSize()).isEqualTo(512);
        assertThat(config.text().projectionDim()).isEqualTo(512);
        assertThat(config.text().eosTokenId()).isEqualTo(49407);
        assertThat(config.vision().hiddenSize()).isEqualTo(768);
        assertThat(config.vision().patchSize()).isEqualTo(32);
        // CLIPModel reads the width of both projections from the top-level key only.
        ClipModelConfig own = ClipModelConfig.parse(Json.parseObject(
                "config.json",
                "{\"text_config\": {\"projection_dim\": 24}, \"tomorrow\": 1, \"vision_config\": {\"b\": 2}}"));
        assertThat(own.text().projectionDim()).isEqualTo(512);
        assertThat(own.unknownKeys()).containsExactly("tomorrow", "vision_config.b");
        assertThat(own.parameters()).containsKeys("logit_scale", "text_projection.weight", "visual_projection.weight");
    }
}
