package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.io.AtomicFiles;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;

/// A diffusers folder: `model_index.json` and one folder for each component, with `config.json` and weights in
/// safetensors files, whole or sharded, under the plain name or that of a variant such as `fp16`.
public final class ModelFolder {
    /// Largest shard of a folder, unless the caller says otherwise: diffusers' own limit.
    public static final long MAX_SHARD_BYTES = 10_000_000_000L;

    private static final Set<String> PIPELINES = Set.of(
            "StableDiffusionPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionXLPipeline",
            "StableDiffusionXLImg2ImgPipeline");

    /// Components without weights: their files are carried along.
    private static final Set<String> WITHOUT_WEIGHTS =
            Set.of("scheduler", "tokenizer", "tokenizer_2", "feature_extractor");

    private static final Pattern WEIGHT_FILE = Pattern.compile(
            ".*\\.(safetensors|bin|ckpt|pt|pth|msgpack|h5|onnx|onnx_data|gguf|flashpack)|.*\\.index(\\..+)?\\.json");

    private static final Pattern PICKLE = Pattern.compile(".*\\.(bin|ckpt|pt|pth)");

    /// Names that old files have for parameters of the VAE's attention.
    private static final Map<String, String> OLD_ATTENTION =
            Map.of("query", "to_q", "key", "to_k", "value", "to_v", "proj_attn", "to_out.0");

    private ModelFolder() {}

    /// How a folder is written.
    ///
    /// @param dtype of the weights; null keeps each as it is
    /// @param variant in the weight files' names, such as `fp16`; null for none
    /// @param maxShardBytes size at which a component's weights are split
    public record WriteOptions(DType dtype, String variant, long maxShardBytes) {
        public WriteOptions {
            if (maxShardBytes < 1) {
                throw new IllegalArgumentException("max shard size: expected 1 byte or more, got " + maxShardBytes);
            }
        }

        /// Every weight as it is, under plain names.
        public static WriteOptions unchanged() {
            return new WriteOptions(null, null, MAX_SHARD_BYTES);
        }
    }

    // ---- reading ----

    /// Opens a folder: the plain weights, or the variant's if there are only those.
    ///
    /// @see #open(Path, String)
    public static ModelFiles open(Path folder) throws IOException {
        return open(folder, null);
    }

    /// Opens a folder with a `model_index.json`, or the folder of one component.
    ///
    /// @param variant which weights; components that lack it give their plain ones, as in diffusers; null: plain
    /// @throws ModelException when the folder is no such thing or holds what we do not support
    /// @throws IOException when a file cannot be read
    public static ModelFiles open(Path folder, String variant) throws IOException {
        if (!Files.isDirectory(folder)) {
            throw new NoSuchFileException(folder + ": expected a model folder, found " + found(folder));
        }
        List<Safetensors> opened = new ArrayList<>();
        try {
            if (Files.exists(folder.resolve("model_index.json"))) {
                return openPipeline(folder, variant, opened);
            }
            if (Files.exists(folder.resolve("config.json"))) {
                return openComponent(folder, variant, opened);
            }
            throw new ModelException(
                    folder, "model_index.json", "this file (a pipeline) or config.json (one component)", "neither");
        } catch (IOException | RuntimeException e) {
            ModelFiles.closeAll(opened);
            throw e;
        }
    }

    private static String found(Path path) {
        return Files.isDirectory(path) ? "a folder" : Files.exists(path) ? "a file" : "nothing";
    }

    /// Configs and documents of a folder, whose weights may be elsewhere.
    record Layout(
            Path folder,
            JsonObject index,
            String pipelineClass,
            Family family,
            Map<String, ComponentConfig> configs,
            JsonObject scheduler,
            ModelFiles.Documents documents) {}

    record ComponentConfig(String library, String className, ModelConfig config) {}

    static Layout layout(Path folder) throws IOException {
        JsonObject index = read(folder.resolve("model_index.json"));
        String pipeline = index.string("_class_name");
        if (!PIPELINES.contains(pipeline)) {
            throw new ModelException(
                    index.source(),
                    "_class_name",
                    "one of " + PIPELINES.stream().sorted().toList(),
                    "\"" + pipeline + "\"");
        }
        Map<String, Path> copied = new TreeMap<>();
        copied.put("model_index.json", folder.resolve("model_index.json"));
        Map<String, ComponentConfig> configs = new LinkedHashMap<>();
        JsonObject scheduler = null;
        for (String name : index.keys()) {
            if (name.startsWith("_") || !(index.asMap().get(name) instanceof List<?> pair)) {
                continue;
            }
            if (pair.size() != 2) {
                throw new ModelException(index.source(), name, "[library, class]", pair);
            }
            if (pair.get(0) == null && pair.get(1) == null) {
                continue;
            }
            if (!(pair.get(0) instanceof String library) || !(pair.get(1) instanceof String className)) {
                throw new ModelException(index.source(), name, "[library, class]", pair);
            }
            Path directory = inside(folder, name, index.source());
            documentsOf(directory, name, copied);
            if (name.equals("scheduler")) {
                scheduler = read(directory.resolve("scheduler_config.json"));
            } else if (!WITHOUT_WEIGHTS.contains(name)) {
                configs.put(name, new ComponentConfig(library, className, config(directory, className)));
            }
        }
        Family family = family(index, pipeline, configs);
        return new Layout(
                folder, index, pipeline, family, configs, scheduler, new ModelFiles.Documents(copied, Map.of()));
    }

    /// The folder of a component; a name that would lead out of the model's folder is refused.
    private static Path inside(Path folder, String name, String source) throws IOException {
        if (name.contains("/") || name.contains("\\") || name.equals("..") || name.equals(".")) {
            throw new ModelException(source, name, "the plain name of a component", "a path");
        }
        Path directory = folder.resolve(name);
        if (!Files.isDirectory(directory)) {
            throw new ModelException(source, name, "a folder of that name beside model_index.json", found(directory));
        }
        return directory;
    }

    private static Family family(JsonObject index, String pipeline, Map<String, ComponentConfig> configs)
            throws ModelException {
        Family family;
        if (pipeline.startsWith("StableDiffusionXL")) {
            family = configs.containsKey("text_encoder") ? Family.SDXL : Family.SDXL_REFINER;
        } else {
            // The two generations differ in nothing but sizes; what tells them apart is whose text tower they have.
            boolean openClip = configs.get("text_encoder") != null
                    && configs.get("text_encoder").config() instanceof ClipTextConfig text
                    && text.activation() == Activation.GELU;
            family = openClip ? Family.SD2 : Family.SD1;
        }
        List<String> required = new ArrayList<>(List.of("unet", "vae"));
        required.addAll(family.textEncoders());
        for (String name : required) {
            if (!configs.containsKey(name)) {
                throw new ModelException(
                        index.source(), name, "a component of that name in a " + family.title() + " model", "none");
            }
        }
        return family;
    }

    private static JsonObject read(Path file) throws IOException {
        if (!Files.isRegularFile(file)) {
            throw new NoSuchFileException(file + ": expected a JSON file, found " + found(file));
        }
        return Json.readObject(file);
    }

    static ModelConfig config(Path directory, String className) throws IOException {
        JsonObject json = read(directory.resolve("config.json"));
        return config(json, className);
    }

    public static ModelConfig config(JsonObject json, String className) throws IOException {
        return switch (className) {
            case "UNet2DConditionModel" -> UNetConfig.parse(json);
            case "AutoencoderKL" -> VaeConfig.parse(json);
            case "CLIPTextModel", "CLIPTextModelWithProjection" -> ClipTextConfig.parse(json, className);
            case "CLIPVisionModel", "CLIPVisionModelWithProjection" -> ClipVisionConfig.parse(json, className);
            case ClipModelConfig.CLASS -> ClipModelConfig.parse(json);
            case "StableDiffusionSafetyChecker" -> new OpaqueConfig(className, json);
            default ->
                throw new ModelException(
                        json.source(),
                        "class",
                        "UNet2DConditionModel, AutoencoderKL, CLIPTextModel, CLIPTextModelWithProjection, "
                                + "CLIPVisionModel, CLIPVisionModelWithProjection, CLIPModel or StableDiffusionSafetyChecker",
                        "\"" + className + "\"");
        };
    }

    /// Files that are no weights, under their paths in the model's folder.
    private static void documentsOf(Path directory, String name, Map<String, Path> copied) throws IOException {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, Files::isRegularFile)) {
            for (Path file : files) {
                String fileName = file.getFileName().toString();
                if (!WEIGHT_FILE.matcher(fileName).matches() && !fileName.startsWith(".")) {
                    copied.put(name.isEmpty() ? fileName : name + "/" + fileName, file);
                }
            }
        }
    }

    /// The UNet's config in a model's folder; no weights are opened.
    public static UNetConfig unetConfig(Path folder) throws IOException {
        Layout layout = layout(folder);
        return (UNetConfig) layout.configs().get("unet").config();
    }

    private static ModelFiles openPipeline(Path folder, String variant, List<Safetensors> opened) throws IOException {
        Layout layout = layout(folder);
        Map<String, Component> components = new LinkedHashMap<>();
        List<String> ignored = new ArrayList<>();
        boolean variantFound = false;
        for (Map.Entry<String, ComponentConfig> entry : layout.configs().entrySet()) {
            Path directory = folder.resolve(entry.getKey());
            WeightFiles files = WeightFiles.find(directory, entry.getValue().library(), variant);
            variantFound |= variant != null && variant.equals(files.variant());
            components.put(
                    entry.getKey(), component(directory, entry.getKey(), entry.getValue(), files, opened, ignored));
        }
        if (variant != null && !variantFound) {
            throw new ModelException(folder, "variant", "weights of the variant \"" + variant + "\"", "none");
        }
        return new ModelFiles(
                folder,
                layout.pipelineClass(),
                layout.family(),
                components,
                layout.scheduler(),
                layout.documents(),
                ignored,
                opened);
    }

    private static ModelFiles openComponent(Path folder, String variant, List<Safetensors> opened) throws IOException {
        JsonObject json = Json.readObject(folder.resolve("config.json"));
        boolean diffusers = json.has("_class_name");
        List<String> architectures = json.has("architectures") ? json.strings("architectures") : List.of();
        // transformers itself goes by model_type; a config written by hand may have nothing else.
        boolean clip = architectures.isEmpty() && "clip".equals(json.asMap().get("model_type"));
        if (!diffusers && architectures.isEmpty() && !clip) {
            throw new ModelException(json.source(), "_class_name", "this key or architectures", "neither");
        }
        String className = diffusers ? json.string("_class_name") : clip ? ClipModelConfig.CLASS : architectures.get(0);
        String library = diffusers ? "diffusers" : "transformers";
        ComponentConfig config = new ComponentConfig(library, className, config(json, className));
        String name = folder.toAbsolutePath().normalize().getFileName().toString();
        List<String> ignored = new ArrayList<>();
        WeightFiles files = WeightFiles.find(folder, library, variant);
        Component component = component(folder, name, config, files, opened, ignored);
        Map<String, Path> copied = new TreeMap<>();
        documentsOf(folder, "", copied);
        return new ModelFiles(
                folder,
                className,
                null,
                Map.of(name, component),
                null,
                new ModelFiles.Documents(copied, Map.of()),
                ignored,
                opened);
    }

    private static Component component(
            Path directory,
            String name,
            ComponentConfig config,
            WeightFiles files,
            List<Safetensors> opened,
            List<String> ignored)
            throws IOException {
        List<Weight> weights = new ArrayList<>();
        for (Map.Entry<Path, Set<String>> file : files.tensors().entrySet()) {
            Safetensors safetensors = Safetensors.open(file.getKey());
            opened.add(safetensors);
            Set<String> promised = new LinkedHashSet<>(file.getValue());
            for (TensorEntry entry : safetensors.entries()) {
                if (files.index() != null && !promised.remove(entry.name())) {
                    throw new ModelException(
                            file.getKey(),
                            entry.name(),
                            "only tensors that " + files.index() + " puts here",
                            "this one");
                }
                String canonical = canonicalName(config.config(), entry.name());
                if (canonical.endsWith(".position_ids") && !(config.config() instanceof OpaqueConfig)) {
                    ignored.add(name + ": " + entry.name());
                } else {
                    weights.add(legacyShape(
                            config.config(), Weight.of(safetensors, entry).named(canonical)));
                }
            }
            if (!promised.isEmpty()) {
                throw new ModelException(
                        file.getKey(),
                        promised.iterator().next(),
                        "this tensor, which " + files.index() + " puts here",
                        "none of that name");
            }
        }
        return Component.of(
                name,
                config.library(),
                config.className(),
                config.config(),
                weights,
                List.copyOf(files.tensors().keySet()),
                directory,
                "");
    }

    /// The parameter's name in today's files: some writers leave out `text_model.`, and old VAEs have other names
    /// for their attention.
    static String canonicalName(ModelConfig config, String name) {
        if (config instanceof ClipTextConfig
                && (name.startsWith("embeddings.")
                        || name.startsWith("encoder.")
                        || name.startsWith("final_layer_norm."))) {
            return "text_model." + name;
        }
        if (config instanceof ClipVisionConfig
                && (name.startsWith("embeddings.")
                        || name.startsWith("encoder.")
                        || name.startsWith("pre_layrnorm.")
                        || name.startsWith("post_layernorm."))) {
            return "vision_model." + name;
        }
        if (config instanceof VaeConfig && name.contains(".attentions.")) {
            int dot = name.lastIndexOf('.');
            int start = name.lastIndexOf('.', dot - 1) + 1;
            String renamed = OLD_ATTENTION.get(name.substring(start, dot));
            return renamed == null ? name : name.substring(0, start) + renamed + name.substring(dot);
        }
        return name;
    }

    /// Old VAEs have 1x1 convolutions where newer ones have matrices of the same elements.
    private static Weight legacyShape(ModelConfig config, Weight weight) {
        List<Long> shape = weight.shape();
        boolean pointwise = config instanceof VaeConfig
                && weight.name().contains(".attentions.")
                && shape.size() == 4
                && shape.get(2) == 1
                && shape.get(3) == 1;
        return pointwise ? weight.reshaped(shape.subList(0, 2)) : weight;
    }

    /// The weight files of one component.
    ///
    /// @param tensors the files, and for sharded weights which tensors the index puts there
    /// @param index null for a single file
    /// @param variant null for the plain one
    private record WeightFiles(Map<Path, Set<String>> tensors, Path index, String variant) {
        static WeightFiles find(Path directory, String library, String variant) throws IOException {
            String stem = library.equals("diffusers") ? "diffusion_pytorch_model" : "model";
            if (variant != null) {
                WeightFiles exact = tryVariant(directory, stem, variant);
                if (exact != null) {
                    return exact;
                }
            }
            WeightFiles plain = tryVariant(directory, stem, null);
            if (plain != null) {
                return plain;
            }
            Set<String> variants = variants(directory, stem);
            if (variant == null && variants.size() == 1) {
                return tryVariant(directory, stem, variants.iterator().next());
            }
            throw absent(directory, stem, variant, variants);
        }

        private static WeightFiles tryVariant(Path directory, String stem, String variant) throws IOException {
            String infix = variant == null ? "" : "." + variant;
            Path single = directory.resolve(stem + infix + ".safetensors");
            if (Files.exists(single)) {
                return new WeightFiles(Map.of(single, Set.of()), null, variant);
            }
            for (String name : List.of(
                    stem + ".safetensors.index" + infix + ".json", stem + ".safetensors" + infix + ".index.json")) {
                if (Files.exists(directory.resolve(name))) {
                    return sharded(directory, directory.resolve(name), variant);
                }
            }
            return null;
        }

        private static WeightFiles sharded(Path directory, Path index, String variant) throws IOException {
            JsonObject map = Json.readObject(index).object("weight_map");
            Map<Path, Set<String>> tensors = new TreeMap<>();
            for (String tensor : map.keys()) {
                String file = map.string(tensor);
                if (file.contains("/") || file.contains("\\") || !file.endsWith(".safetensors")) {
                    throw new ModelException(
                            index, "weight_map." + tensor, "the name of a safetensors file in the same folder", file);
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
            List<String> pickles =
                    names.stream().filter(n -> PICKLE.matcher(n).matches()).toList();
            if (!variants.isEmpty()) {
                return new ModelException(directory, "weights", wanted, "the variants " + variants + ": choose one");
            }
            if (names.stream().anyMatch(n -> n.startsWith(stem + "-") && n.endsWith(".safetensors"))) {
                return new ModelException(
                        directory, "weights", stem + ".safetensors.index.json beside the shards", "shards alone");
            }
            if (!pickles.isEmpty()) {
                return new ModelException(directory + ": weights: expected " + wanted + ", found " + pickles
                        + ", which are Python pickles: reading one runs the code in it, so we do not. Convert the "
                        + "model once, with diffusers, from a source that you trust: python -c \"from diffusers import "
                        + "DiffusionPipeline; DiffusionPipeline.from_pretrained('MODEL', use_safetensors=False)"
                        + ".save_pretrained('OUT')\"");
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

    // ---- writing ----

    /// Writes a model as a diffusers folder, whole or not at all.
    ///
    /// Configs and tokenizers are copied byte for byte; with another dtype, the `torch_dtype` that a text encoder's
    /// config names is changed with it.
    ///
    /// @param target a folder that does not exist yet
    /// @throws ModelException when a weight is not finite, or leaves the range of the new type
    /// @throws IOException when the folder cannot be written; there is then none
    public static void write(ModelFiles model, Path target, WriteOptions options) throws IOException {
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
            for (Component component : model.components().values()) {
                Path directory = model.family().isPresent() ? folder.resolve(component.name()) : folder;
                Files.createDirectories(directory);
                writeWeights(component, directory, options);
            }
        });
    }

    /// A pipeline without its tokenizers does not load, and a checkpoint does not bring them.
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

    private static void writeDocument(String name, Path source, Path file, DType dtype) throws IOException {
        if (dtype != null && (name.equals("config.json") || name.endsWith("/config.json"))) {
            JsonObject config = Json.readObject(source);
            Map<String, Object> changed = new LinkedHashMap<>(config.asMap());
            changed.replace("torch_dtype", torchName(dtype));
            changed.replace("dtype", torchName(dtype));
            if (!changed.equals(config.asMap())) {
                Json.write(file, changed);
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

    private static void writeWeights(Component component, Path directory, WriteOptions options) throws IOException {
        String stem = component.library().equals("diffusers") ? "diffusion_pytorch_model" : "model";
        String infix = options.variant() == null ? "" : "." + options.variant();
        List<List<Weight>> shards = shards(component.weights().values(), options.dtype(), options.maxShardBytes());
        if (shards.size() == 1) {
            writeFile(directory.resolve(stem + infix + ".safetensors"), shards.get(0), options.dtype(), Map.of());
            return;
        }
        Map<String, String> weightMap = new TreeMap<>();
        long total = 0;
        for (int i = 0; i < shards.size(); i++) {
            String name = String.format(
                    java.util.Locale.ROOT, "%s%s-%05d-of-%05d.safetensors", stem, infix, i + 1, shards.size());
            writeFile(directory.resolve(name), shards.get(i), options.dtype(), Map.of());
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

    /// Writes weights under their names. `format: pt` is what transformers demands to see.
    public static void writeFile(Path file, Collection<Weight> weights, DType dtype, Map<String, String> metadata)
            throws IOException {
        Map<String, Weight> byName = new LinkedHashMap<>();
        weights.forEach(weight -> byName.put(weight.name(), weight));
        Map<String, String> all = new TreeMap<>(metadata);
        all.put("format", "pt");
        SafetensorsWriter.write(
                file,
                weights.stream().map(weight -> weight.declaration(dtype)).toList(),
                all,
                (entry, out) -> byName.get(entry.name()).writeTo(dtype, bytes -> out.write(entry.name(), bytes)));
    }
}
