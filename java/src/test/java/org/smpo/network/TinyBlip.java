package org.smpo.network;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.Weight;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TorchWriter;

/// The model, images and captions of `tools/golden/imagereward.py`.
public final class TinyBlip {
    private static final Path FOLDER =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/reward/imagereward");

    private TinyBlip() {}

    /// Returns the scores of the published code's modules, with what they were made from.
    public static JsonObject golden() throws IOException {
        return Json.readObject(FOLDER.resolve("imagereward.json"));
    }

    static JsonObject tokens() throws IOException {
        return Json.readObject(FOLDER.resolve("tokens.json"));
    }

    static Path pixels() {
        return FOLDER.resolve("imagereward.safetensors");
    }

    static Path vocabulary() {
        return FOLDER;
    }

    /// Returns the weights under the names of `ImageReward.pt`.
    public static List<Weight> weights() throws IOException {
        JsonObject parameters = golden().object("parameters");
        List<Weight> weights = new ArrayList<>();
        for (String name : parameters.keys()) {
            weights.add(TinyClip.weight(name, parameters.integers(name)));
        }
        // Tensors of the published file that no score depends on.
        weights.add(TinyClip.weight("blip.vision_proj.weight", List.of(8L, 128L)));
        weights.add(TinyClip.weight("blip.text_proj.bias", List.of(8L)));
        return weights;
    }

    /// Writes a vocabulary and the config of the tiny model into a folder.
    public static Path writeConfig(Path folder) throws IOException {
        Files.createDirectories(folder);
        Files.copy(FOLDER.resolve("vocab.txt"), folder.resolve("vocab.txt"));
        Map<String, Object> config = new LinkedHashMap<>(golden().object("text").asMap());
        config.putAll(Map.of("hidden_act", "gelu", "encoder_width", 768L, "add_cross_attention", true));
        config.putAll(Map.of("type_vocab_size", 2L, "hidden_dropout_prob", 0.1, "model_type", "bert"));
        Json.write(folder.resolve("med_config.json"), config);
        return folder;
    }

    /// Writes a folder as the authors publish it: `ImageReward.pt`, `med_config.json`, and `vocab.txt`.
    public static Path write(Path folder) throws IOException {
        writeConfig(folder);
        Map<String, TorchWriter.Tensor> tensors = new LinkedHashMap<>();
        for (Weight weight : weights()) {
            ByteBuffer buffer = weight.buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            tensors.put(weight.name(), new TorchWriter.Tensor(weight.dtype(), weight.shape(), bytes));
        }
        TorchWriter.write(folder.resolve("ImageReward.pt"), tensors, false);
        return folder;
    }
}
