package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// The weight files of one component of a diffusers folder.
///
/// @param tensors Files with the tensors that the index assigns to each; no names for a single file
/// @param index Path of the index; null for a single file
/// @param variant Variant in the files' names, such as `fp16`; null for none
record WeightFiles(Map<Path, Set<String>> tensors, Path index, String variant) {
    private static final Pattern WEIGHT_FILE = Pattern.compile(
            ".*\\.(safetensors|bin|ckpt|pt|pth|msgpack|h5|onnx|onnx_data|gguf|flashpack)|.*\\.index(\\..+)?\\.json");

    private static final String SAFETENSORS = ".safetensors";

    /// Files of torch, which older models have instead.
    private static final String TORCH = ".bin";

    /// Whether a file of this name holds weights, in any format, or an index of them.
    static boolean isWeightFile(String name) {
        return WEIGHT_FILE.matcher(name).matches();
    }

    /// The name of a library's weight files, without variant and ending.
    static String stem(String library) {
        return library.equals("diffusers") ? "diffusion_pytorch_model" : "model";
    }

    /// The name of a library's torch files, likewise.
    private static String torchStem(String library) {
        return library.equals("diffusers") ? "diffusion_pytorch_model" : "pytorch_model";
    }

    /// Finds the files of a component. Without a variant, the plain files are preferred, and a folder
    /// with the files of one variant alone gives those. With a variant, a component that lacks it gives
    /// its plain files, as in diffusers. Torch files are taken where there are no safetensors files.
    ///
    /// @param directory Folder of the component
    /// @param library Library that the component's class belongs to
    /// @param variant Variant to prefer; null for none
    /// @throws ModelException when there are none that can be read
    static WeightFiles find(Path directory, String library, String variant) throws IOException {
        String stem = stem(library);
        String torch = torchStem(library);
        if (variant != null) {
            WeightFiles exact = tryVariant(directory, stem, SAFETENSORS, variant);
            exact = exact == null ? tryVariant(directory, torch, TORCH, variant) : exact;
            if (exact != null) {
                return exact;
            }
        }
        WeightFiles plain = tryVariant(directory, stem, SAFETENSORS, null);
        if (plain != null) {
            return plain;
        }
        Set<String> variants = variants(directory, stem);
        if (variant == null && variants.size() == 1) {
            return tryVariant(directory, stem, SAFETENSORS, variants.iterator().next());
        }
        WeightFiles old = tryVariant(directory, torch, TORCH, null);
        if (old != null) {
            return old;
        }
        throw absent(directory, stem, variant, variants);
    }

    private static WeightFiles tryVariant(Path directory, String stem, String ending, String variant)
            throws IOException {
        String infix = variant == null ? "" : "." + variant;
        Path single = directory.resolve(stem + infix + ending);
        if (Files.exists(single)) {
            return new WeightFiles(Map.of(single, Set.of()), null, variant);
        }
        for (String name : List.of(stem + ending + ".index" + infix + ".json", stem + ending + infix + ".index.json")) {
            if (Files.exists(directory.resolve(name))) {
                return sharded(directory, directory.resolve(name), ending, variant);
            }
        }
        return null;
    }

    private static WeightFiles sharded(Path directory, Path index, String ending, String variant) throws IOException {
        JsonObject map = Json.readObject(index).object("weight_map");
        Map<Path, Set<String>> tensors = new TreeMap<>();
        for (String tensor : map.keys()) {
            String file = map.string(tensor);
            if (file.contains("/") || file.contains("\\") || !file.endsWith(ending)) {
                throw new ModelException(
                        index, "weight_map." + tensor, "the name of a " + ending + " file in the same folder", file);
            }
            Path shard = directory.resolve(file);
            if (!Files.exists(shard)) {
                throw new ModelException(index, "weight_map." + tensor, "the shard " + file, "no such file");
            }
            tensors.computeIfAbsent(shard, f -> new LinkedHashSet<>()).add(tensor);
        }
        return new WeightFiles(tensors, index, variant);
    }

    private static Set<String> variants(Path directory, String stem) throws IOException {
        Pattern pattern = Pattern.compile(Pattern.quote(stem)
                + "(\\.(?<single>[A-Za-z0-9_-]+?)(-\\d+-of-\\d+)?\\.safetensors"
                + "|-\\d+-of-\\d+\\.(?<old>\\w+)\\.safetensors)");
        Set<String> variants = new LinkedHashSet<>();
        for (String name : names(directory)) {
            Matcher matcher = pattern.matcher(name);
            if (matcher.matches()) {
                variants.add(matcher.group("single") != null ? matcher.group("single") : matcher.group("old"));
            }
        }
        return variants;
    }

    private static IOException absent(Path directory, String stem, String variant, Set<String> variants)
            throws IOException {
        String wanted = stem + (variant == null ? "" : "[." + variant + "]") + ".safetensors";
        List<String> names = names(directory);
        if (!variants.isEmpty()) {
            return new ModelException(directory, "weights", wanted, "the variants " + variants + ": choose one");
        }
        if (names.stream().anyMatch(n -> n.startsWith(stem + "-") && n.endsWith(".safetensors"))) {
            return new ModelException(
                    directory, "weights", stem + ".safetensors.index.json beside the shards", "shards alone");
        }
        return new ModelException(directory, "weights", wanted, names.isEmpty() ? "an empty folder" : names);
    }

    private static List<String> names(Path directory) throws IOException {
        List<String> names = new ArrayList<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
            for (Path file : files) {
                names.add(file.getFileName().toString());
            }
        }
        names.sort(null);
        return names;
    }
}
