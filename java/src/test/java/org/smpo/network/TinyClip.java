package org.smpo.network;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.SyntheticWeights;
import org.smpo.checkpoint.Weight;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.RgbImage;
import org.smpo.io.Safetensors;

/// The models, images and captions of `tools/golden/clip_score.py`, with transformers' results.
public final class TinyClip {
    private static final Path TESTS = Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo");

    private TinyClip() {}

    public static JsonObject golden() throws IOException {
        return Json.readObject(TESTS.resolve("reward/clip_score.json"));
    }

    /// Returns the results of tools/golden/rewards.py.
    public static JsonObject rewards() throws IOException {
        return Json.readObject(TESTS.resolve("reward/rewards.json"));
    }

    static Safetensors rewardPixels() throws IOException {
        return Safetensors.open(TESTS.resolve("reward/rewards.safetensors"));
    }

    /// Copies the small vocabulary into a folder.
    public static void writeTokenizer(Path folder) throws IOException {
        Path tokenizer = TESTS.resolve("network/tokenizer");
        Files.copy(tokenizer.resolve("vocab.json"), folder.resolve("vocab.json"));
        Files.copy(tokenizer.resolve("merges.txt"), folder.resolve("merges.txt"));
        Files.copy(tokenizer.resolve("first.json"), folder.resolve("tokenizer_config.json"));
    }

    static Safetensors pixelValues() throws IOException {
        return Safetensors.open(TESTS.resolve("reward/clip_score.safetensors"));
    }

    /// Returns the images by name, in the order of the golden file.
    public static Map<String, RgbImage> images() throws IOException {
        return images(golden(), "pictures");
    }

    /// Returns the images that a key of a golden file describes, by name.
    public static Map<String, RgbImage> images(JsonObject golden, String key) {
        Map<String, RgbImage> images = new LinkedHashMap<>();
        for (Object entry : (List<?>) golden.asMap().get(key)) {
            List<?> image = (List<?>) entry;
            String name = (String) image.get(0);
            int height = ((Long) image.get(1)).intValue();
            int width = ((Long) image.get(2)).intValue();
            images.put(name, image(name, height, width));
        }
        return images;
    }

    /// Returns an image of ramps with noise.
    public static RgbImage image(String name, int height, int width) {
        float[] noise = SyntheticWeights.uniform("picture." + name, 3 * height * width);
        byte[] rgb = new byte[noise.length];
        for (int i = 0; i < rgb.length; i++) {
            int channel = i % 3;
            int x = i / 3 % width;
            int y = i / 3 / width;
            rgb[i] = (byte) (((3 * x + 5 * y + 60 * channel) % 256 * 3 + (int) ((noise[i] + 1) * 128)) / 4);
        }
        return RgbImage.of(width, height, rgb);
    }

    /// Returns one score per caption and image.
    public static double[][] scores(String model, String kind) throws IOException {
        List<?> rows = (List<?>) golden().object("models").object(model).asMap().get(kind);
        return rows.stream()
                .map(row -> ((List<?>) row)
                        .stream().mapToDouble(x -> ((Number) x).doubleValue()).toArray())
                .toArray(double[][]::new);
    }

    /// Writes a checkpoint in transformers' layout.
    ///
    /// @param shards number of weight files
    public static Path write(Path folder, String model, int shards) throws IOException {
        Files.createDirectories(folder);
        JsonObject described = golden().object("models").object(model);
        Map<String, Object> config =
                new LinkedHashMap<>(described.object("config").asMap());
        config.put("architectures", List.of("CLIPModel"));
        config.put("model_type", "clip");
        Json.write(folder.resolve("config.json"), config);
        Json.write(
                folder.resolve("preprocessor_config.json"),
                golden().object("processors").object("edge").asMap());
        writeTokenizer(folder);
        JsonObject parameters = described.object("parameters");
        List<Weight> weights = new ArrayList<>();
        for (String name : parameters.keys()) {
            weights.add(weight(name, parameters.integers(name)));
        }
        if (shards == 1) {
            // Files from before 2023 also hold buffers.
            weights.add(Weight.of(
                    "text_model.embeddings.position_ids", DType.I64, List.of(1L, 77L), new byte[77 * Long.BYTES]));
            Weight.writeAll(folder.resolve("model.safetensors"), weights, null, Map.of());
            return folder;
        }
        Map<String, Object> index = new LinkedHashMap<>();
        for (int shard = 0; shard < shards; shard++) {
            String file = "model-0000" + (shard + 1) + "-of-0000" + shards + ".safetensors";
            List<Weight> own = new ArrayList<>();
            for (int i = shard; i < weights.size(); i += shards) {
                own.add(weights.get(i));
                index.put(weights.get(i).name(), file);
            }
            Weight.writeAll(folder.resolve(file), own, null, Map.of());
        }
        Json.write(folder.resolve("model.safetensors.index.json"), Map.of("metadata", Map.of(), "weight_map", index));
        return folder;
    }

    /// Returns the synthetic tensor of a name.
    public static Weight weight(String name, List<Long> shape) {
        float[] values = SyntheticWeights.tensor(name, shape);
        ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return Weight.of(name, DType.F32, shape, bytes.array());
    }
}
