package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.smpo.io.AtomicFiles;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// Writes models as diffusers folders.
public final class FolderWriter {
    /// Default limit for the size of a shard: that of diffusers.
    public static final long MAX_SHARD_BYTES = 10_000_000_000L;

    private FolderWriter() {}

    /// Options of a written folder.
    ///
    /// @param dtype Dtype of the weights; null keeps the dtype of each
    /// @param variant Variant in the weight files' names, such as `fp16`; null for none
    /// @param maxShardBytes Size at which a component's weights are split, in bytes
    public record Options(DType dtype, String variant, long maxShardBytes) {
        public Options {
            if (maxShardBytes < 1) {
                throw new IllegalArgumentException("max shard size: expected 1 byte or more, got " + maxShardBytes);
            }
        }

        /// Every weight as it is, under plain names.
        public static Options unchanged() {
            return new Options(null, null, MAX_SHARD_BYTES);
        }
    }

    /// Writes a model as a diffusers folder, whole or not at all.
    ///
    /// Configs and tokenizers are copied byte for byte; with another dtype, the `torch_dtype` that a
    /// text encoder's config names is changed with it.
    ///
    /// @param target a folder that does not exist yet
    /// @throws ModelException when a weight is not finite, or leaves the range of the new type
    /// @throws IOException when the folder cannot be written; there is then none
    public static void write(ModelFiles model, Path target, Options options) throws IOException {
        if (Files.exists(target)) {
            throw new ModelException(target, "folder", "nothing there yet", "something");
        }
        requireTokenizers(model);
        AtomicFiles.writeDirectory(target, folder -> {
            for (Map.Entry<String, Path> document : model.documents().copied().entrySet()) {
                Path file = folder.resolve(document.getKey());
                Files.createDirectories(file.getParent());
                writeDocument(document.getKey(), document.getValue(), file, options.dtype());
            }
            for (Map.Entry<String, JsonObject> document :
                    model.documents().made().entrySet()) {
                Path file = folder.resolve(document.getKey());
                Files.createDirectories(file.getParent());
                Json.write(file, document.getValue());
            }
            writeBuiltInTokenizers(model, folder);
            for (Component component : model.components().values()) {
                Path directory = model.family().isPresent() ? folder.resolve(component.name()) : folder;
                Files.createDirectories(directory);
                writeWeights(component, directory, options);
            }
        });
    }

    /// A pipeline without its tokenizers does not load, and a checkpoint with another vocabulary than
    /// CLIP's does not bring them.
    private static void requireTokenizers(ModelFiles model) throws ModelException {
        if (model.family().isEmpty()) {
            return;
        }
        for (String encoder : model.family().get().textEncoders()) {
            String name = encoder.replace("text_encoder", "tokenizer");
            if (model.tokenizer(name).isEmpty()) {
                throw new ModelException(
                        model.path(),
                        name,
                        "vocab.json and merges.txt",
                        "none: a checkpoint holds no tokenizer; name a "
                                + "diffusers folder of the same family that has it (--config)");
            }
        }
    }

    /// Writes CLIP's tokenizer for a model that came without, and names it in the index.
    private static void writeBuiltInTokenizers(ModelFiles model, Path folder) throws IOException {
        if (model.family().isEmpty()) {
            return;
        }
        JsonObject index = model.index().orElseThrow();
        Map<String, Object> named = new LinkedHashMap<>(index.asMap());
        for (String encoder : model.family().get().textEncoders()) {
            String name = encoder.replace("text_encoder", "tokenizer");
            if (model.tokenizer(name).orElseThrow() instanceof TokenizerFiles.Clip clip) {
                Path directory = Files.createDirectories(folder.resolve(name));
                for (Map.Entry<String, byte[]> file : clip.contents().entrySet()) {
                    Files.write(directory.resolve(file.getKey()), file.getValue());
                }
                named.put(name, List.of("transformers", "CLIPTokenizer"));
            }
        }
        if (!named.equals(index.asMap())) {
            Json.write(folder.resolve("model_index.json"), index.with(named));
        }
    }

    private static void writeDocument(String name, Path source, Path file, DType dtype) throws IOException {
        if (dtype != null && (name.equals("config.json") || name.endsWith("/config.json"))) {
            JsonObject config = Json.readObject(source);
            Map<String, Object> changed = new LinkedHashMap<>(config.asMap());
            changed.replace("torch_dtype", torchName(dtype));
            changed.replace("dtype", torchName(dtype));
            if (!changed.equals(config.asMap())) {
                Json.write(file, config.with(changed));
                return;
            }
        }
        Files.copy(source, file);
    }

    private static String torchName(DType dtype) {
        return switch (dtype) {
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            case F64 -> "float64";
            default -> "float32";
        };
    }

    private static void writeWeights(Component component, Path directory, Options options) throws IOException {
        String stem = WeightFiles.stem(component.library());
        String infix = options.variant() == null ? "" : "." + options.variant();
        List<List<Weight>> shards = shards(component.weights().values(), options.dtype(), options.maxShardBytes());
        if (shards.size() == 1) {
            Weight.writeAll(directory.resolve(stem + infix + ".safetensors"), shards.get(0), options.dtype(), Map.of());
            return;
        }
        Map<String, String> weightMap = new TreeMap<>();
        long total = 0;
        for (int i = 0; i < shards.size(); i++) {
            String name =
                    String.format(Locale.ROOT, "%s%s-%05d-of-%05d.safetensors", stem, infix, i + 1, shards.size());
            Weight.writeAll(directory.resolve(name), shards.get(i), options.dtype(), Map.of());
            for (Weight weight : shards.get(i)) {
                weightMap.put(weight.name(), name);
                total += storedBytes(weight, options.dtype());
            }
        }
        Json.write(
                directory.resolve(stem + ".safetensors.index" + infix + ".json"),
                Map.of("metadata", Map.of("total_size", total), "weight_map", weightMap));
    }

    private static long storedBytes(Weight weight, DType target) {
        return weight.elements() * weight.storedAs(target).bits() / 8;
    }

    /// Tensors in their order; a shard ends before it would exceed the limit.
    private static List<List<Weight>> shards(Collection<Weight> weights, DType dtype, long limit) {
        List<List<Weight>> shards = new ArrayList<>();
        List<Weight> shard = new ArrayList<>();
        long bytes = 0;
        for (Weight weight : weights) {
            long size = storedBytes(weight, dtype);
            if (!shard.isEmpty() && bytes + size > limit) {
                shards.add(shard);
                shard = new ArrayList<>();
                bytes = 0;
            }
            shard.add(weight);
            bytes += size;
        }
        shards.add(shard);
        return shards;
    }
}
