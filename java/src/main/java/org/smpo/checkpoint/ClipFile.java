package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.io.Closer;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// Reads CLIP models: folders of transformers, and single safetensors or torch files under the names of
/// transformers or OpenCLIP, with any prefix that a published reward puts before them (`model.`,
/// `clip.`). A file may lack the text tower.
///
/// A file does not record its number of heads or its activation. They come from a `config.json` beside
/// it that describes a CLIP model, otherwise from the published model of these sizes.
public final class ClipFile {
    private static final String CONFIG = "config.json";
    private static final String COMPONENT = "clip";
    private static final String VISION_CLASS = "CLIPVisionModelWithProjection";

    /// Files of a folder without a CLIP model's config, the preferred one first.
    private static final List<String> FILES = List.of(
            "HPS_v2.1_compressed.pt",
            "model.safetensors",
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.bin",
            "pytorch_model.bin");

    /// A published architecture.
    ///
    /// @param openAi whether OpenAI published it under transformers' names, with its own approximation
    ///     of GELU
    private record Published(
            String title,
            long visionWidth,
            long visionLayers,
            long visionHeads,
            long textWidth,
            long textHeads,
            boolean openAi) {}

    private static final List<Published> PUBLISHED = List.of(
            new Published("ViT-B", 768, 12, 12, 512, 8, true),
            new Published("ViT-L", 1024, 24, 16, 768, 12, true),
            new Published("ViT-H", 1280, 32, 16, 1024, 16, false),
            new Published("ViT-bigG", 1664, 48, 16, 1280, 20, false));

    /// How a file names its tensors.
    ///
    /// @param openClip whether the names are OpenCLIP's; otherwise they are transformers'
    /// @param prefix beginning of every name
    private record Naming(boolean openClip, String prefix) {
        private static final String OPEN_CLIP = "visual.conv1.weight";
        private static final String TRANSFORMERS = "vision_model.embeddings.patch_embedding.weight";

        static Optional<Naming> of(TensorFile file) throws ModelException {
            List<Naming> found = new ArrayList<>();
            for (TensorEntry entry : file.entries()) {
                for (String name : List.of(OPEN_CLIP, TRANSFORMERS)) {
                    if (entry.name().equals(name) || entry.name().endsWith("." + name)) {
                        String prefix = entry.name().substring(0, entry.name().length() - name.length());
                        found.add(new Naming(name.equals(OPEN_CLIP), prefix));
                    }
                }
            }
            if (found.size() > 1) {
                throw new ModelException(
                        file.path(),
                        "vision tower",
                        "one",
                        "several: " + found.stream().map(Naming::prefix).toList());
            }
            return found.stream().findFirst();
        }

        String visionPrefix() {
            return openClip ? prefix + "visual." : prefix;
        }

        String patches() {
            return prefix + (openClip ? OPEN_CLIP : TRANSFORMERS);
        }

        String visionPositions() {
            return visionPrefix()
                    + (openClip ? "positional_embedding" : "vision_model.embeddings.position_embedding.weight");
        }

        String tokens() {
            return prefix + (openClip ? "" : "text_model.embeddings.") + "token_embedding.weight";
        }

        String textPositions() {
            return prefix + (openClip ? "positional_embedding" : "text_model.embeddings.position_embedding.weight");
        }

        String projection() {
            return openClip ? prefix + "visual.proj" : prefix + "visual_projection.weight";
        }

        private String layers(String tower) {
            return openClip
                    ? prefix + (tower.equals("vision") ? "visual." : "") + OpenClip.BLOCKS
                    : prefix + tower + "_model.encoder.layers.";
        }

        long layers(TensorFile file, String tower) {
            String last = openClip ? ".ln_1.weight" : ".layer_norm1.weight";
            return ClipFile.layers(file, layers(tower), last);
        }

        String inner(String tower) {
            return layers(tower) + (openClip ? "0.mlp.c_fc.weight" : "0.mlp.fc1.weight");
        }
    }

    private ClipFile() {}

    /// Returns whether a folder holds a whole CLIP model of transformers, going by its config.
    public static boolean isFolder(Path folder) throws IOException {
        Path config = folder.resolve(CONFIG);
        if (!Files.isRegularFile(config)) {
            return false;
        }
        JsonObject json = Json.readObject(config);
        boolean byClass =
                json.asMap().get("architectures") instanceof List<?> classes && classes.contains(ClipModelConfig.CLASS);
        return byClass || "clip".equals(json.asMap().get("model_type"));
    }

    /// Returns the file that holds the weights: the path itself, or the one in a folder whose config is
    /// not a CLIP model's.
    ///
    /// @throws NoSuchFileException when there is none
    public static Path weights(Path path) throws IOException {
        if (!Files.isDirectory(path)) {
            return path;
        }
        for (String name : FILES) {
            if (Files.exists(path.resolve(name))) {
                return path.resolve(name);
            }
        }
        throw new NoSuchFileException(path + ": expected a CLIP model: " + CONFIG
                + " of transformers and its weights, or one of " + String.join(", ", FILES) + "; found neither");
    }

    /// Returns the config of the model that [#open] returns, without reading its weights: a
    /// [ClipModelConfig], or a [ClipVisionConfig] for a file without a text tower.
    ///
    /// @throws ModelException when there is no CLIP model, or not one that we support
    public static ModelConfig config(Path path) throws IOException {
        if (Files.isDirectory(path) && isFolder(path)) {
            return ClipModelConfig.parse(Json.readObject(path.resolve(CONFIG)));
        }
        Path weights = weights(path);
        try (TensorFile file = TensorFile.open(weights)) {
            return config(file, naming(file));
        }
    }

    /// Returns whether a file holds a vision tower of CLIP.
    ///
    /// @throws IOException when it is not a file of tensors
    public static boolean hasVision(Path path) throws IOException {
        try (TensorFile file = TensorFile.open(path)) {
            return Naming.of(file).isPresent();
        }
    }

    /// Opens a folder or a file.
    ///
    /// @return one component, whose config is that of [#config]
    /// @throws ModelException when there is no CLIP model, or not one that we support
    /// @throws IOException when a file cannot be read
    public static ModelFiles open(Path path) throws IOException {
        if (Files.isDirectory(path) && isFolder(path)) {
            return ModelFolder.open(path);
        }
        Path weights = weights(path);
        SingleFile.requireFile(weights);
        Closer opened = new Closer();
        try {
            return open(opened.add(TensorFile.open(weights)), opened);
        } catch (IOException | RuntimeException e) {
            opened.closeAfter(e);
            throw e;
        }
    }

    private static ModelFiles open(TensorFile file, Closer opened) throws IOException {
        Naming naming = naming(file);
        ModelConfig config = config(file, naming);
        Leftovers leftovers = new Leftovers();
        Map<String, Weight> rest = new LinkedHashMap<>();
        for (TensorEntry entry : file.entries()) {
            boolean scale = entry.name().equals(naming.prefix() + ClipModelConfig.LOGIT_SCALE);
            if (entry.name().startsWith(naming.prefix()) && (scale || !SingleFile.isBuffer(entry.name()))) {
                Weight weight = Weight.of(file, entry);
                rest.put(entry.name(), scale && weight.elements() == 1 ? weight.reshaped(List.of()) : weight);
            } else {
                leftovers.ignore(entry.name());
            }
        }
        List<Weight> weights = new ArrayList<>();
        if (naming.openClip()) {
            weights.addAll(OpenClip.takeVision(vision(config), naming.visionPrefix(), rest));
            if (config instanceof ClipModelConfig whole) {
                weights.addAll(OpenClip.takeText(whole.text(), naming.prefix(), rest));
            }
        }
        for (String parameter : config.parameters().keySet()) {
            Weight weight = rest.remove(naming.prefix() + parameter);
            if (weight != null) {
                weights.add(weight.named(parameter));
            }
        }
        weights.addAll(rest.values());
        String className = config instanceof ClipModelConfig ? ClipModelConfig.CLASS : VISION_CLASS;
        Component.Fitted fitted = Component.fit(
                COMPONENT,
                new ComponentConfig("transformers", className, config),
                weights,
                List.of(file.path()),
                file.path(),
                "");
        leftovers.extra(
                COMPONENT, fitted.extra().stream().map(Component::storedName).toList());
        return new ModelFiles(
                file.path(),
                className,
                null,
                Map.of(COMPONENT, fitted.component()),
                null,
                new ModelFiles.Documents(Map.of(), Map.of()),
                leftovers,
                List.of(file.path()),
                opened);
    }

    /// Returns the config of the vision tower of a [#config].
    public static ClipVisionConfig vision(ModelConfig config) {
        return config instanceof ClipModelConfig whole ? whole.vision() : (ClipVisionConfig) config;
    }

    private static Naming naming(TensorFile file) throws ModelException {
        return Naming.of(file)
                .orElseThrow(() -> new ModelException(
                        file.path(),
                        "vision tower",
                        "a CLIP model, with the tensor " + Naming.OPEN_CLIP + " (OpenCLIP) or " + Naming.TRANSFORMERS
                                + " (transformers) under any prefix",
                        "none of " + file.entries().size() + " tensors"));
    }

    private static ModelConfig config(TensorFile file, Naming naming) throws IOException {
        boolean whole = file.find(naming.tokens()).isPresent();
        Optional<JsonObject> beside = beside(file.path().toAbsolutePath().getParent());
        if (beside.isPresent()) {
            return whole ? ClipModelConfig.parse(beside.get()) : ClipVisionConfig.parse(beside.get(), VISION_CLASS);
        }
        Map<String, Object> vision = new LinkedHashMap<>();
        List<Long> patches = shape(file, naming.patches(), 4);
        long positions = shape(file, naming.visionPositions(), 2).get(0);
        Published published = published(file, patches.get(0), naming.layers(file, "vision"));
        String activation = published.openAi() && !naming.openClip() ? "quick_gelu" : "gelu";
        List<Long> projection = shape(file, naming.projection(), 2);
        long width = naming.openClip() ? projection.get(1) : projection.get(0);
        vision.put("hidden_size", patches.get(0));
        vision.put("patch_size", patches.get(2));
        vision.put("image_size", Math.round(Math.sqrt(positions - 1.0)) * patches.get(2));
        vision.put("num_hidden_layers", published.visionLayers());
        vision.put("num_attention_heads", published.visionHeads());
        vision.put("intermediate_size", shape(file, naming.inner("vision"), 2).get(0));
        vision.put("hidden_act", activation);
        vision.put("projection_dim", width);
        String source = file.path() + " (as the published " + published.title() + ")";
        if (!whole) {
            return ClipVisionConfig.parse(Json.parseObject(source, Json.canonical(vision)), VISION_CLASS);
        }
        Map<String, Object> text = new LinkedHashMap<>();
        List<Long> tokens = shape(file, naming.tokens(), 2);
        text.put("vocab_size", tokens.get(0));
        text.put("hidden_size", tokens.get(1));
        text.put(
                "max_position_embeddings",
                shape(file, naming.textPositions(), 2).get(0));
        text.put("num_hidden_layers", naming.layers(file, "text"));
        text.put("num_attention_heads", published.textHeads());
        text.put("intermediate_size", shape(file, naming.inner("text"), 2).get(0));
        text.put("hidden_act", activation);
        text.put("eos_token_id", tokens.get(0) - 1);
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("architectures", List.of(ClipModelConfig.CLASS));
        all.put("projection_dim", width);
        all.put("text_config", text);
        all.put("vision_config", vision);
        return ClipModelConfig.parse(Json.parseObject(source, Json.canonical(all)));
    }

    /// The config in a folder, if it is that of a CLIP model or of its vision tower.
    private static Optional<JsonObject> beside(Path folder) throws IOException {
        Path config = folder.resolve(CONFIG);
        if (!Files.isRegularFile(config)) {
            return Optional.empty();
        }
        JsonObject json = Json.readObject(config);
        boolean vision =
                (json.asMap().get("architectures") instanceof List<?> classes && classes.contains(VISION_CLASS))
                        || "clip_vision_model".equals(json.asMap().get("model_type"));
        return vision || isFolder(folder) ? Optional.of(json) : Optional.empty();
    }

    private static Published published(TensorFile file, long width, long layers) throws ModelException {
        return PUBLISHED.stream()
                .filter(known -> known.visionWidth() == width && known.visionLayers() == layers)
                .findFirst()
                .orElseThrow(() -> new ModelException(
                        file.path(),
                        "vision tower",
                        "the width and depth of one of "
                                + PUBLISHED.stream().map(Published::title).toList() + ", or a " + CONFIG
                                + " of transformers beside the file",
                        "width " + width + " and " + layers + " layers without it"));
    }

    /// Number of tensors whose names begin and end so, of which each layer has one.
    static long layers(TensorFile file, String start, String end) {
        return file.entries().stream()
                .filter(entry -> entry.name().startsWith(start) && entry.name().endsWith(end))
                .count();
    }

    static List<Long> shape(TensorFile file, String name, int dimensions) throws IOException {
        List<Long> shape = file.entry(name).shape();
        if (shape.size() != dimensions) {
            throw new ModelException(file.path(), name, dimensions + " dimensions", shape);
        }
        return shape;
    }
}
