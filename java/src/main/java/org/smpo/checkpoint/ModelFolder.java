package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.smpo.io.Closer;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// Reads diffusers folders: `model_index.json` and one folder for each component, with `config.json` and
/// weights in safetensors files, whole or sharded, under the plain name or that of a variant such as
/// `fp16`.
public final class ModelFolder {
    /// Names that old files have for parameters of the VAE's attention.
    private static final Map<String, String> OLD_ATTENTION =
            Map.of("query", "to_q", "key", "to_k", "value", "to_v", "proj_attn", "to_out.0");

    private final Path folder;
    private final String variant;
    private final Closer opened = new Closer();
    private final List<Path> weightFiles = new ArrayList<>();
    private final Leftovers leftovers = new Leftovers();

    private ModelFolder(Path folder, String variant) {
        this.folder = folder;
        this.variant = variant;
    }

    /// Opens a folder: the plain weights, or those of a variant where there is only one.
    ///
    /// @see #open(Path, String)
    public static ModelFiles open(Path folder) throws IOException {
        return open(folder, null);
    }

    /// Opens a folder with a `model_index.json`, or the folder of one component.
    ///
    /// @param variant Variant of the weights; components that lack it give their plain ones, as in
    ///     diffusers; null: plain
    /// @throws ModelException when the folder is not a model's or holds what we do not support
    /// @throws IOException when a file cannot be read
    public static ModelFiles open(Path folder, String variant) throws IOException {
        if (!Files.isDirectory(folder)) {
            throw new NoSuchFileException(folder + ": expected a model folder, found " + FolderLayout.whatIs(folder));
        }
        ModelFolder reader = new ModelFolder(folder, variant);
        try {
            if (Files.exists(folder.resolve("model_index.json"))) {
                return reader.pipeline();
            }
            if (Files.exists(folder.resolve("config.json"))) {
                return reader.component();
            }
            throw new ModelException(
                    folder, "model_index.json", "this file (a pipeline) or config.json (one component)", "neither");
        } catch (IOException | RuntimeException e) {
            reader.opened.closeAfter(e);
            throw e;
        }
    }

    /// The UNet's config in a model's folder; no weights are opened.
    public static UNetConfig unetConfig(Path folder) throws IOException {
        return (UNetConfig) FolderLayout.read(folder).configs().get("unet").config();
    }

    private ModelFiles pipeline() throws IOException {
        FolderLayout layout = FolderLayout.read(folder);
        Map<String, Component> components = new LinkedHashMap<>();
        boolean variantFound = false;
        Map<String, String> absent = new LinkedHashMap<>(layout.absent());
        for (Map.Entry<String, ComponentConfig> entry : layout.configs().entrySet()) {
            Path directory = folder.resolve(entry.getKey());
            WeightFiles files;
            try {
                files = WeightFiles.find(directory, entry.getValue().library(), variant);
            } catch (ModelException e) {
                if (!(entry.getValue().config() instanceof OpaqueConfig)) {
                    throw e;
                }
                absent.put(entry.getKey(), "has no weights that can be read");
                continue;
            }
            variantFound |= variant != null && variant.equals(files.variant());
            components.put(entry.getKey(), component(directory, entry.getKey(), entry.getValue(), files));
        }
        if (variant != null && !variantFound) {
            throw new ModelException(folder, "variant", "weights of the variant \"" + variant + "\"", "none");
        }
        absent.forEach((name, reason) -> leftovers.notice(name + ": left out, because it " + reason));
        return new ModelFiles(
                folder,
                layout.pipelineClass(),
                layout.family(),
                components,
                layout.scheduler(),
                layout.documents().without(layout.index(), absent.keySet()),
                leftovers,
                weightFiles,
                opened);
    }

    private ModelFiles component() throws IOException {
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
        ComponentConfig config = new ComponentConfig(library, className, ModelConfig.parse(json, className));
        String name = folder.toAbsolutePath().normalize().getFileName().toString();
        WeightFiles files = WeightFiles.find(folder, library, variant);
        Component component = component(folder, name, config, files);
        Map<String, Path> copied = new TreeMap<>();
        FolderLayout.documentsOf(folder, "", copied);
        return new ModelFiles(
                folder,
                className,
                null,
                Map.of(name, component),
                null,
                new ModelFiles.Documents(copied, Map.of()),
                leftovers,
                weightFiles,
                opened);
    }

    private Component component(Path directory, String name, ComponentConfig config, WeightFiles files)
            throws IOException {
        List<Weight> weights = new ArrayList<>();
        for (Map.Entry<Path, Set<String>> file : files.tensors().entrySet()) {
            TensorFile safetensors = opened.add(TensorFile.open(file.getKey()));
            weightFiles.add(file.getKey());
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
                    leftovers.ignore(name + ": " + entry.name());
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
        Component.Fitted fitted =
                Component.fit(name, config, weights, List.copyOf(files.tensors().keySet()), directory, "");
        leftovers.extra(name, fitted.extra().stream().map(Component::storedName).toList());
        return fitted.component();
    }

    /// The current name of a parameter: some writers leave out `text_model.`, and old VAEs have other
    /// names for their attention.
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
    static Weight legacyShape(ModelConfig config, Weight weight) {
        List<Long> shape = weight.shape();
        boolean pointwise = config instanceof VaeConfig
                && weight.name().contains(".attentions.")
                && shape.size() == 4
                && shape.get(2) == 1
                && shape.get(3) == 1;
        return pointwise ? weight.reshaped(shape.subList(0, 2)) : weight;
    }
}
