package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.ClipFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.Weight;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.io.TorchWriter;
import org.smpo.network.TinyClip;

/// Rewards in the layouts in which they are published, against OpenCLIP and transformers
/// (tools/golden/rewards.py).
final class PublishedLayoutsTest {
    private static final double TOLERANCE = 2e-5;

    @TempDir
    private Path temporary;

    private static List<Weight> weights(JsonObject parameters, String prefix) throws IOException {
        List<Weight> weights = new ArrayList<>();
        for (String name : parameters.keys()) {
            Weight weight = TinyClip.weight(name, parameters.integers(name));
            weights.add(weight.named(prefix + name));
        }
        return weights;
    }

    private static void torch(Path file, Iterable<Weight> weights, boolean nested) throws IOException {
        Map<String, TorchWriter.Tensor> tensors = new LinkedHashMap<>();
        for (Weight weight : weights) {
            ByteBuffer buffer = weight.buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            tensors.put(weight.name(), new TorchWriter.Tensor(weight.dtype(), weight.shape(), bytes));
        }
        TorchWriter.write(file, tensors, nested);
    }

    /// The config of the tiny model of ViT-H/14's layout.
    private Path hpsv2Folder(String name) throws IOException {
        Path folder = Files.createDirectories(temporary.resolve(name));
        TinyClip.writeTokenizer(folder);
        Files.writeString(folder.resolve("config.json"), """
            {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 24,
             "text_config": {"vocab_size": 3314, "hidden_size": 32, "intermediate_size": 128,
               "num_attention_heads": 4, "num_hidden_layers": 3, "hidden_act": "gelu", "eos_token_id": 3313},
             "vision_config": {"hidden_size": 48, "intermediate_size": 192, "num_attention_heads": 4,
               "num_hidden_layers": 3, "image_size": 42, "patch_size": 14, "hidden_act": "gelu"}}
            """);
        return folder;
    }

    private static double[] numbers(Object list) {
        return ((List<?>) list)
                .stream().mapToDouble(x -> ((Number) x).doubleValue()).toArray();
    }

    private static double[][] scores(RewardSource source) throws IOException {
        JsonObject golden = TinyClip.rewards();
        List<RgbImage> images = List.copyOf(TinyClip.images(golden, "images").values());
        List<String> captions = golden.strings("captions");
        double[][] scores = new double[captions.size()][];
        try (Reward reward = source.open("cpu", Precision.FP32, 1)) {
            assertThat(reward.digest()).isEqualTo(source.digest());
            assertThat(reward.preprocessing()).isEqualTo(source.preprocessing(Precision.FP32));
            for (int i = 0; i < scores.length; i++) {
                String caption = captions.get(i);
                scores[i] = reward.score(images.stream().map(image -> caption).toList(), images);
            }
        }
        return scores;
    }

    private static double largest(double[] found, double[] expected) {
        assertThat(found).hasSameSizeAs(expected);
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            largest = Math.max(largest, Math.abs(found[i] - expected[i]));
        }
        return largest;
    }

    private static double largest(double[][] found, List<?> expected) {
        assertThat(found.length).isEqualTo(expected.size());
        double largest = 0;
        for (int i = 0; i < found.length; i++) {
            largest = Math.max(largest, largest(found[i], numbers(expected.get(i))));
        }
        return largest;
    }

    @Test
    void hpsv2IsOpenClipInEveryLayout() throws IOException {
        JsonObject golden = TinyClip.rewards().object("hpsv2");
        JsonObject parameters = golden.object("parameters");
        Path published = hpsv2Folder("published").resolve("HPS_v2.1_compressed.pt");
        torch(published, weights(parameters, ""), true);
        Path prefixed = hpsv2Folder("prefixed").resolve("hps.safetensors");
        Weight.writeAll(prefixed, weights(parameters, "model."), null, Map.of());
        Path transformers = hpsv2Folder("transformers");
        try (ModelFiles files = ClipFile.open(published)) {
            Weight.writeAll(
                    transformers.resolve("model.safetensors"),
                    files.only().weights().values(),
                    null,
                    Map.of());
        }
        List<?> exact = (List<?>) golden.asMap().get("exact");
        for (Path path : List.of(published, prefixed, transformers)) {
            double[][] found = scores(RewardSource.parse("hpsv2:" + path));
            assertThat(largest(found, exact)).as(path.toString()).isLessThan(TOLERANCE);
            found[2][3] += 2 * TOLERANCE;
            assertThat(largest(found, exact)).isGreaterThan(TOLERANCE);
        }
        // The same files under another kind are cropped, not padded, and score differently.
        Files.writeString(prefixed.resolveSibling("preprocessor_config.json"), """
            {"size": {"shortest_edge": 42}, "crop_size": {"height": 42, "width": 42}}
            """);
        assertThat(largest(scores(RewardSource.parse("clip:" + prefixed)), exact))
                .isGreaterThan(1e-3);
        assertThat(RewardSource.parse("hpsv2:" + prefixed).preprocessing(Precision.FP32))
                .contains("longest_edge 42 padded");
    }

    @Test
    void aestheticIsOneFileWithTheVisionTowerAlone() throws IOException {
        JsonObject golden = TinyClip.rewards().object("aesthetic");
        List<Long> widths = golden.integers("widths");
        for (String kind : List.of("linear", "relu")) {
            Path folder = Files.createDirectories(temporary.resolve(kind));
            Map<String, Object> config =
                    new LinkedHashMap<>(golden.object("config").asMap());
            config.put("model_type", "clip_vision_model");
            Json.write(folder.resolve("config.json"), config);
            Files.writeString(folder.resolve("preprocessor_config.json"), """
                {"size": {"shortest_edge": 42}, "crop_size": {"height": 42, "width": 42}}
                """);
            List<Weight> weights = weights(golden.object("parameters"), "");
            List<Long> layers = golden.object(kind).integers("layers");
            for (int i = 0; i < layers.size(); i++) {
                String name = "mlp.layers." + layers.get(i);
                weights.add(TinyClip.weight(name + ".weight", List.of(widths.get(i + 1), widths.get(i))));
                weights.add(TinyClip.weight(name + ".bias", List.of(widths.get(i + 1))));
            }
            Path file = folder.resolve("model.safetensors");
            Weight.writeAll(file, weights, null, Map.of());
            // A head beside a vision tower in one file is certainly this kind.
            RewardSource source = RewardSource.parse(file.toString());
            assertThat(source.kind()).isEqualTo(RewardKind.AESTHETIC);
            double[] exact = numbers(golden.object(kind).asMap().get("exact"));
            double[][] found = scores(source);
            for (double[] row : found) {
                assertThat(largest(row, exact)).as(kind).isLessThan(TOLERANCE);
            }
            found[0][1] += 2 * TOLERANCE;
            assertThat(largest(found[0], exact)).isGreaterThan(TOLERANCE);
            Path torch = folder.resolve("aesthetic.pt");
            torch(torch, weights, false);
            assertThat(RewardSource.parse(torch.toString()).digest()).isEqualTo(source.digest());
            assertThatThrownBy(() -> RewardSource.parse("clip:" + file).digest())
                    .hasMessageContaining("ClipModelConfig");
        }
    }

    /// A folder with `pytorch_model.bin`, and single files with and without a prefix, score as the
    /// folder of safetensors.
    @Test
    void clipModelsAreTheSameInEveryFormat() throws IOException {
        Path folder = TinyClip.write(temporary.resolve("folder"), "vit_h", 1);
        double[][] expected = scores(RewardSource.parse("pickscore:" + folder));
        List<Weight> weights;
        try (ModelFiles files = ClipFile.open(folder)) {
            weights = List.copyOf(files.only().weights().values());
            Path bin = TinyClip.write(temporary.resolve("bin"), "vit_h", 1);
            Files.delete(bin.resolve("model.safetensors"));
            torch(bin.resolve("pytorch_model.bin"), weights, false);
            assertThat(scores(RewardSource.parse("pickscore:" + bin))).isDeepEqualTo(expected);
            Path single = bin.resolve("pick.pt");
            torch(single, weights, true);
            assertThat(scores(RewardSource.parse("pickscore:" + single))).isDeepEqualTo(expected);
            Path prefixed = bin.resolve("prefixed.safetensors");
            Weight.writeAll(
                    prefixed,
                    weights.stream().map(w -> w.named("model." + w.name())).toList(),
                    null,
                    Map.of());
            assertThat(scores(RewardSource.parse("clip:" + prefixed))).isDeepEqualTo(expected);
            assertThat(RewardSource.parse("clip:" + prefixed).digest())
                    .isEqualTo(RewardSource.parse("clip:" + bin).digest());
        }
    }

    /// Without a config beside it, a file of no published size does not say its heads.
    @Test
    void sizesThatNobodyPublishedNeedAConfig() throws IOException {
        Path file = temporary.resolve("alone.safetensors");
        Weight.writeAll(file, weights(TinyClip.rewards().object("hpsv2").object("parameters"), ""), null, Map.of());
        assertThatThrownBy(() -> RewardSource.parse("hpsv2:" + file).digest())
                .isInstanceOf(IOException.class)
                .hasMessageContaining("width 48 and 3 layers")
                .hasMessageContaining("config.json");
        assertThatThrownBy(() -> RewardSource.parse(file.toString()))
                .hasMessageContaining("name the kind as KIND:PATH");
    }
}
