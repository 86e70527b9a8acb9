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
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// Reads the image-grounded encoder of BLIP (arXiv 2201.12086), on which ImageReward is built: a vision
/// transformer and BERT with cross-attention in one safetensors or torch file, under BLIP's names with any
/// prefix (ImageReward: `blip.`).
///
/// BERT's number of heads comes from a `med_config.json` beside the file; without one, heads are 64 wide.
public final class BlipFile {
    /// Name of the vision transformer's component.
    public static final String VISION = "visual_encoder";

    /// Name of BERT's component.
    public static final String TEXT = "text_encoder";

    private static final String CONFIG = "med_config.json";
    private static final String CLASS_TOKEN = VISION + ".cls_token";
    private static final String WORDS = "embeddings.word_embeddings.weight";

    /// Files of a folder, the preferred one first.
    private static final List<String> FILES = List.of("ImageReward.pt", "ImageReward.safetensors", "model.safetensors");

    private BlipFile() {}

    /// Returns the file that holds the weights: the path itself, or the one in a folder.
    ///
    /// @throws NoSuchFileException when there is none
    public static Path weights(Path path) throws NoSuchFileException {
        if (!Files.isDirectory(path)) {
            return path;
        }
        for (String name : FILES) {
            if (Files.exists(path.resolve(name))) {
                return path.resolve(name);
            }
        }
        throw new NoSuchFileException(
                path + ": expected BLIP's weights, one of " + String.join(", ", FILES) + "; found none of them");
    }

    /// Returns whether a file holds both halves.
    ///
    /// @throws IOException when it is not a file of tensors
    public static boolean isIn(Path file) throws IOException {
        try (TensorFile tensors = TensorFile.open(file)) {
            Optional<String> prefix = prefix(tensors);
            return prefix.isPresent()
                    && tensors.find(prefix.get() + TEXT + "." + WORDS).isPresent();
        }
    }

    private static Optional<String> prefix(TensorFile file) {
        return file.entries().stream()
                .map(TensorEntry::name)
                .filter(name -> name.equals(CLASS_TOKEN) || name.endsWith("." + CLASS_TOKEN))
                .findFirst()
                .map(name -> name.substring(0, name.length() - CLASS_TOKEN.length()));
    }

    /// Returns the config of the vision transformer, without reading any weight.
    ///
    /// @param path folder or file
    /// @throws ModelException when there is no BLIP model, or not one that we support
    public static BlipVisionConfig vision(Path path) throws IOException {
        try (TensorFile file = TensorFile.open(weights(path))) {
            return vision(file, requiredPrefix(file));
        }
    }

    private static String requiredPrefix(TensorFile file) throws ModelException {
        return prefix(file)
                .orElseThrow(() -> new ModelException(
                        file.path(),
                        "vision transformer",
                        "BLIP's, with the tensor " + CLASS_TOKEN + " under any prefix",
                        "none of " + file.entries().size() + " tensors"));
    }

    /// Opens a folder or a file.
    ///
    /// @return the components [#VISION] and [#TEXT]
    /// @throws ModelException when there is no BLIP model, or not one that we support
    /// @throws IOException when a file cannot be read
    public static ModelFiles open(Path path) throws IOException {
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
        String prefix = requiredPrefix(file);
        BlipVisionConfig vision = vision(file, prefix);
        BertConfig text = text(file, prefix, vision.hiddenSize());
        Leftovers leftovers = new Leftovers();
        Map<String, Weight> rest = new LinkedHashMap<>();
        for (TensorEntry entry : file.entries()) {
            boolean half = entry.name().startsWith(prefix + VISION + ".")
                    || entry.name().startsWith(prefix + TEXT + ".");
            if (half && !SingleFile.isBuffer(entry.name())) {
                rest.put(entry.name(), Weight.of(file, entry));
            } else {
                // Projections that BLIP trains with, and a head that is read by itself.
                leftovers.ignore(entry.name());
            }
        }
        Map<String, Component> components = new LinkedHashMap<>();
        components.put(
                VISION,
                fit(VISION, "VisionTransformer", vision, takeVision(vision, prefix + VISION + ".", rest), file));
        List<Weight> words = new ArrayList<>();
        for (String parameter : text.parameters().keySet()) {
            Weight weight = rest.remove(prefix + TEXT + "." + parameter);
            if (weight != null) {
                words.add(weight.named(parameter));
            }
        }
        components.put(TEXT, fit(TEXT, "BertModel", text, words, file));
        leftovers.extra(file.path().toString(), List.copyOf(rest.keySet()));
        return new ModelFiles(
                file.path(),
                "BLIP",
                null,
                components,
                null,
                new ModelFiles.Documents(Map.of(), Map.of()),
                leftovers,
                List.of(file.path()),
                opened);
    }

    private static Component fit(
            String name, String className, ModelConfig config, List<Weight> weights, TensorFile file)
            throws ModelException {
        return Component.fit(
                        name,
                        new ComponentConfig("BLIP", className, config),
                        weights,
                        List.of(file.path()),
                        file.path(),
                        "")
                .component();
    }

    /// Removes the vision transformer's tensors from `file` and returns them as transformers has CLIP's:
    /// with three input projections instead of one, and without dimensions of 1 in embeddings.
    private static List<Weight> takeVision(BlipVisionConfig config, String prefix, Map<String, Weight> file) {
        List<Weight> weights = OpenClip.takeAttention(
                "vision_model", config.layers(), config.hiddenSize(), i -> prefix + "blocks." + i + ".attn.qkv.", file);
        weights.addAll(LdmNames.blipVision(config).take(config, prefix, file));
        weights.replaceAll(weight -> {
            List<Long> shape = weight.shape();
            boolean embedding = shape.size() == 3 && shape.getFirst() == 1;
            if (!embedding) {
                return weight;
            }
            return weight.reshaped(
                    weight.name().endsWith("class_embedding") && shape.get(1) == 1
                            ? shape.subList(2, 3)
                            : shape.subList(1, 3));
        });
        return weights;
    }

    private static BlipVisionConfig vision(TensorFile file, String prefix) throws IOException {
        String all = prefix + VISION + ".";
        List<Long> patches = ClipFile.shape(file, all + "patch_embed.proj.weight", 4);
        long positions = ClipFile.shape(file, all + "pos_embed", 3).get(1);
        long width = patches.get(0);
        Map<String, Object> sizes = new LinkedHashMap<>();
        sizes.put("embed_dim", width);
        sizes.put("patch_size", patches.get(2));
        sizes.put("img_size", Math.round(Math.sqrt(positions - 1.0)) * patches.get(2));
        sizes.put("in_chans", patches.get(1));
        sizes.put(
                "mlp_dim",
                ClipFile.shape(file, all + "blocks.0.mlp.fc1.weight", 2).get(0));
        sizes.put("depth", ClipFile.layers(file, all + "blocks.", ".norm1.weight"));
        ConfigReader in = new ConfigReader(Json.parseObject(file.path() + " (" + VISION + ")", Json.canonical(sizes)));
        in.require(
                width % BlipVisionConfig.HEAD == 0,
                "embed_dim",
                "a multiple of " + BlipVisionConfig.HEAD + ", the width of a head",
                width);
        return new BlipVisionConfig(
                in.integer("img_size", null, 1),
                in.integer("patch_size", null, 1),
                in.integer("in_chans", null, 1),
                in.integer("embed_dim", null, 1),
                in.integer("mlp_dim", null, 1),
                in.layers("depth", 0),
                in.json());
    }

    private static BertConfig text(TensorFile file, String prefix, int encoderWidth) throws IOException {
        Path beside = file.path().toAbsolutePath().resolveSibling(CONFIG);
        if (Files.isRegularFile(beside)) {
            return BertConfig.parse(Json.readObject(beside), encoderWidth);
        }
        String all = prefix + TEXT + ".";
        List<Long> words = ClipFile.shape(file, all + WORDS, 2);
        String source = file.path() + " (without " + CONFIG + " beside it)";
        if (words.get(1) % BlipVisionConfig.HEAD != 0) {
            throw new ModelException(
                    source,
                    TEXT,
                    "a width that is a multiple of " + BlipVisionConfig.HEAD + ", or " + CONFIG + " with the heads",
                    words.get(1));
        }
        Map<String, Object> sizes = new LinkedHashMap<>();
        sizes.put("vocab_size", words.get(0));
        sizes.put("hidden_size", words.get(1));
        sizes.put(
                "max_position_embeddings",
                ClipFile.shape(file, all + "embeddings.position_embeddings.weight", 2)
                        .get(0));
        sizes.put("num_attention_heads", words.get(1) / BlipVisionConfig.HEAD);
        sizes.put("num_hidden_layers", ClipFile.layers(file, all + "encoder.layer.", ".attention.self.query.weight"));
        sizes.put(
                "intermediate_size",
                ClipFile.shape(file, all + "encoder.layer.0.intermediate.dense.weight", 2)
                        .get(0));
        return BertConfig.parse(Json.parseObject(source, Json.canonical(sizes)), encoderWidth);
    }
}
