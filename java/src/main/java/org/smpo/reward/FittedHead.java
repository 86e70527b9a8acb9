package org.smpo.reward;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Digest;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.objective.HeadFeatures;

/// A head on the embeddings of a CLIP model, without the model: score = cosine/T + w·φ + b.
///
/// It is a folder with `reward.json` and `head.safetensors` (`weight`, `bias`). The folder names the
/// CLIP model and its digest, so that a head is never used with another model than it was fitted to.
///
/// @param base the CLIP model
/// @param baseDigest digest of the CLIP model
/// @param features φ
/// @param temperature T; empty: the score is w·φ + b alone, as for a classifier
/// @param weight w
/// @param bias b
/// @param notes how the head was fitted: entries of `reward.json` that nothing reads back
record FittedHead(
        RewardSource base,
        String baseDigest,
        HeadFeatures features,
        OptionalDouble temperature,
        FloatTensor weight,
        float bias,
        Map<String, Object> notes) {
    static final String FILE = "reward.json";
    private static final String WEIGHTS = "head.safetensors";
    private static final String FORMAT = "smpo.format";
    private static final String KIND = "kind";
    private static final String BASE = "base";
    private static final String TEMPERATURE = "temperature";
    private static final String FEATURES = "features";

    /// Returns whether a folder holds a head.
    static boolean isIn(Path folder) {
        return Files.isRegularFile(folder.resolve(FILE)) && Files.isRegularFile(folder.resolve(WEIGHTS));
    }

    /// Writes the head, whole or not at all.
    ///
    /// @throws IOException when it cannot be written
    void write(Path folder) throws IOException {
        Map<String, Object> model = new LinkedHashMap<>();
        model.put(KIND, base.kind().id());
        model.put("path", base.path().toAbsolutePath().normalize().toString());
        model.put("processor", base.processor().toAbsolutePath().normalize().toString());
        model.put("digest", baseDigest);
        Map<String, Object> all = new LinkedHashMap<>();
        all.put(FORMAT, 1L);
        all.put(KIND, RewardKind.HEAD.id());
        all.put(BASE, model);
        all.put(TEMPERATURE, temperature.isPresent() ? (Double) temperature.getAsDouble() : null);
        all.put(FEATURES, features.id());
        all.putAll(notes);
        AtomicFiles.writeDirectory(folder, directory -> {
            FloatTensor.writeAll(
                    directory.resolve(WEIGHTS),
                    Map.of("weight", weight, "bias", FloatTensor.of(new float[] {bias}, 1)),
                    Map.of());
            Json.write(directory.resolve(FILE), all);
        });
    }

    /// Reads a head.
    ///
    /// @param processor folder with the preprocessing of the CLIP model; empty: the one that the head
    ///     names
    /// @throws IOException when a file is missing or is not a head's
    static FittedHead read(Path folder, Optional<Path> processor) throws IOException {
        Path file = folder.resolve(FILE);
        JsonObject json = Json.readObject(file);
        if (!json.string(KIND).equals(RewardKind.HEAD.id()) || json.integer(FORMAT) != 1) {
            throw new IOException(file + ": expected " + KIND + " head and " + FORMAT + " 1, found "
                    + json.string(KIND) + " and " + json.integer(FORMAT)
                    + ": read it with the version of smpo that wrote it");
        }
        JsonObject model = json.object(BASE);
        RewardKind kind = RewardKind.of(model.string(KIND))
                .orElseThrow(() -> new IOException(file + ": base.kind: expected one of " + RewardKind.ids()
                        + ", found " + model.asMap().get(KIND)));
        Path path = Path.of(model.string("path"));
        if (!Files.exists(path)) {
            throw new IOException(
                    file + ": base.path: expected the CLIP model that the head was fitted to, found nothing" + " at "
                            + path + "; enter its place");
        }
        RewardSource base =
                new RewardSource(Optional.empty(), kind, path, processor.orElse(Path.of(model.string("processor"))));
        HeadFeatures features;
        try {
            features = HeadFeatures.of(json.string(FEATURES));
        } catch (IllegalArgumentException e) {
            throw new IOException(file + ": " + FEATURES + ": " + e.getMessage(), e);
        }
        Map<String, FloatTensor> tensors = FloatTensor.readAll(folder.resolve(WEIGHTS));
        FloatTensor weight = tensors.get("weight");
        FloatTensor bias = tensors.get("bias");
        if (weight == null
                || bias == null
                || weight.shape().size() != 1
                || !bias.shape().equals(List.of(1L))
                || !finite(weight.values())
                || !finite(bias.values())) {
            throw new IOException(folder.resolve(WEIGHTS) + ": expected finite tensors weight [features] and bias [1],"
                    + " found " + describe(tensors));
        }
        OptionalDouble temperature =
                json.has(TEMPERATURE) ? OptionalDouble.of(json.number(TEMPERATURE)) : OptionalDouble.empty();
        if (temperature.isPresent() && !(temperature.getAsDouble() > 0)) {
            throw new IOException(
                    file + ": temperature: expected a number above 0, found " + temperature.getAsDouble());
        }
        return new FittedHead(base, model.string("digest"), features, temperature, weight, bias.values()[0], Map.of());
    }

    private static boolean finite(float[] values) {
        for (float value : values) {
            if (!Float.isFinite(value)) {
                return false;
            }
        }
        return true;
    }

    private static String describe(Map<String, FloatTensor> tensors) {
        Map<String, Object> shapes = new LinkedHashMap<>();
        tensors.forEach((name, tensor) ->
                shapes.put(name, tensor.shape() + (finite(tensor.values()) ? "" : " with values that are not finite")));
        return shapes.toString();
    }

    /// Returns the SHA-256 of everything that decides a score.
    String digest() {
        Digest digest = new Digest();
        String text = baseDigest + "\n" + features.id() + "\n" + temperature + "\n";
        digest.update(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
        float[] values = weight.values();
        ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * (values.length + 1));
        for (float value : values) {
            bytes.putFloat(value);
        }
        return digest.update(bytes.putFloat(bias).flip()).hex();
    }

    /// Returns the score of an image.
    double score(ClipEmbeddings embeddings, int row) {
        double[] caption = features.readCaptions() ? embeddings.captions()[row] : null;
        double[] values = features.of(caption, embeddings.images()[row]);
        float[] weights = weight.values();
        double sum = 0;
        for (int i = 0; i < values.length; i++) {
            sum += weights[i] * values[i];
        }
        return sum + bias + (temperature.isPresent() ? embeddings.cosine(row) / temperature.getAsDouble() : 0);
    }
}
