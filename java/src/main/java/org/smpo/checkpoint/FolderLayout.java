package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// The configs and documents of a diffusers folder, whose weights may be elsewhere.
///
/// @param index `model_index.json`
/// @param pipelineClass Class of the pipeline
/// @param family Model family
/// @param configs Configs of the components with weights, by name
/// @param scheduler `scheduler_config.json`; null without a scheduler
/// @param documents Files other than weights
/// @param absent Components that the index names and nothing needs, with the reason why they are left out
record FolderLayout(
        JsonObject index,
        String pipelineClass,
        Family family,
        Map<String, ComponentConfig> configs,
        JsonObject scheduler,
        ModelFiles.Documents documents,
        Map<String, String> absent) {
    private static final Set<String> PIPELINES = Set.of(
            "StableDiffusionPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionXLPipeline",
            "StableDiffusionXLImg2ImgPipeline");

    /// Components without weights: their files are carried along.
    private static final Set<String> WITHOUT_WEIGHTS =
            Set.of("scheduler", "tokenizer", "tokenizer_2", "feature_extractor");

    /// Components without which a model cannot be read. Everything else may be absent.
    private static final Set<String> NEEDED = Set.of("unet", "vae", "text_encoder", "text_encoder_2", "scheduler");

    /// Reads the layout of a folder with a `model_index.json`.
    ///
    /// @throws ModelException for a folder of a kind that we do not support, naming file and key
    static FolderLayout read(Path folder) throws IOException {
        JsonObject index = readJson(folder.resolve("model_index.json"));
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
        Map<String, String> absent = new LinkedHashMap<>();
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
            requirePlain(name, index.source());
            Path directory = folder.resolve(name);
            boolean needed = NEEDED.contains(name);
            if (!Files.isDirectory(directory)) {
                if (needed) {
                    throw new ModelException(
                            index.source(), name, "a folder of that name beside model_index.json", whatIs(directory));
                }
                absent.put(name, "is named in model_index.json but not in the folder");
                continue;
            }
            if (name.equals("scheduler")) {
                scheduler = readJson(directory.resolve("scheduler_config.json"));
            } else if (!WITHOUT_WEIGHTS.contains(name)) {
                try {
                    configs.put(
                            name,
                            new ComponentConfig(
                                    library,
                                    className,
                                    ModelConfig.parse(readJson(directory.resolve("config.json")), className)));
                } catch (IOException e) {
                    if (needed) {
                        throw e;
                    }
                    absent.put(name, "cannot be read (" + e.getMessage() + ")");
                    continue;
                }
            }
            Map<String, Path> own = new TreeMap<>();
            documentsOf(directory, name, own);
            if (own.isEmpty() && !needed) {
                absent.put(name, "has an empty folder");
                continue;
            }
            copied.putAll(own);
        }
        if (absent.containsKey("feature_extractor") && configs.remove("safety_checker") != null) {
            absent.put("safety_checker", "needs the feature extractor");
        }
        Family family = family(index, pipeline, configs);
        return new FolderLayout(
                index,
                pipeline,
                family,
                configs,
                scheduler,
                new ModelFiles.Documents(copied, Map.of()).without(index, absent.keySet()),
                absent);
    }

    /// Refuses a component's name that leads out of the model's folder.
    private static void requirePlain(String name, String source) throws ModelException {
        if (name.contains("/") || name.contains("\\") || name.equals("..") || name.equals(".")) {
            throw new ModelException(source, name, "the plain name of a component", "a path");
        }
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

    static JsonObject readJson(Path file) throws IOException {
        if (!Files.isRegularFile(file)) {
            throw new NoSuchFileException(file + ": expected a JSON file, found " + whatIs(file));
        }
        return Json.readObject(file);
    }

    /// Describes the content of a path for messages.
    static String whatIs(Path path) {
        return Files.isDirectory(path) ? "a folder" : Files.exists(path) ? "a file" : "nothing";
    }

    /// Files that are no weights, under their paths in the model's folder.
    static void documentsOf(Path directory, String name, Map<String, Path> copied) throws IOException {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, Files::isRegularFile)) {
            for (Path file : files) {
                String fileName = file.getFileName().toString();
                if (!WeightFiles.isWeightFile(fileName) && !fileName.startsWith(".")) {
                    copied.put(name.isEmpty() ? fileName : name + "/" + fileName, file);
                }
            }
        }
    }
}
