package org.smpo.evaluate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelFolder;
import org.smpo.checkpoint.OpaqueConfig;
import org.smpo.checkpoint.SingleFile;
import org.smpo.generate.TextToImage;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.Precision;

/// A model to evaluate.
///
/// @param name name in the report
/// @param path path of a diffusers folder or a checkpoint
/// @param options options for reading a checkpoint; unused for a folder
/// @param loras adapters to merge into the model, in this order
/// @param run log and recipe of the training run that made the model, for the report
public record EvaluatedModel(
        String name, Path path, SingleFile.Options options, List<Adapter> loras, Optional<RunRecords> run) {
    /// Largest number of characters in a name.
    public static final int LONGEST_NAME = 60;

    /// A LoRA file to merge into a model.
    ///
    /// @param file path of the file
    /// @param weight factor of the update
    public record Adapter(Path file, double weight) {
        /// @throws IllegalArgumentException when the weight is not finite
        public Adapter {
            if (!Double.isFinite(weight)) {
                throw new IllegalArgumentException(file + ": expected a finite weight, got " + weight);
            }
        }
    }

    /// Records of a training run that a report shows.
    ///
    /// @param log path of `log.jsonl`
    /// @param recipe path of the resolved recipe
    public record RunRecords(Path log, Path recipe) {}

    /// @throws IllegalArgumentException when the name is blank, too long or has line breaks
    public EvaluatedModel {
        Objects.requireNonNull(path);
        Objects.requireNonNull(options);
        Objects.requireNonNull(run);
        loras = List.copyOf(loras);
        if (name.isBlank() || name.length() > LONGEST_NAME || name.chars().anyMatch(c -> c < ' ')) {
            throw new IllegalArgumentException(
                    "model name: expected 1 to " + LONGEST_NAME + " characters in one line, got \"" + name + "\"");
        }
    }

    /// Returns a model without adapters or records.
    public static EvaluatedModel of(String name, Path path) {
        return new EvaluatedModel(name, path, SingleFile.Options.none(), List.of(), Optional.empty());
    }

    /// Returns the same model with the records of its training.
    public EvaluatedModel with(RunRecords records) {
        return new EvaluatedModel(name, path, options, loras, Optional.of(records));
    }

    /// Opens the files. The caller closes them.
    ModelFiles files() throws IOException {
        return Files.isDirectory(path) ? ModelFolder.open(path) : SingleFile.open(path, options);
    }

    /// Loads the model and merges its adapters. The caller closes it.
    TextToImage open(String device, Precision precision, int threads) throws IOException {
        try (ModelFiles files = files()) {
            TextToImage model = TextToImage.open(files, device, precision, threads);
            try {
                for (Adapter adapter : loras) {
                    try (LoraFile lora = LoraFile.open(adapter.file())) {
                        model.merge(lora.lora(), adapter.weight());
                    }
                }
            } catch (IOException | RuntimeException e) {
                model.close();
                throw e;
            }
            return model;
        }
    }

    /// Returns the SHA-256 of everything that decides an image: weights, configs, scheduler, tokenizers and
    /// adapters. It does not depend on how the weights are spread over files.
    String digest() throws IOException {
        Map<String, Object> parts = new LinkedHashMap<>();
        try (ModelFiles files = files()) {
            parts.put("class", files.pipelineClass());
            for (Map.Entry<String, Component> entry : files.components().entrySet()) {
                Component component = entry.getValue();
                // Unknown components, such as a safety checker, do not affect the image.
                if (!(component.config() instanceof OpaqueConfig)) {
                    parts.put(entry.getKey(), component.sha256());
                    parts.put(
                            entry.getKey() + " config",
                            component.config().json().asMap());
                }
                String tokenizer = entry.getKey().replace("text_encoder", "tokenizer");
                Optional<Path> folder =
                        tokenizer.startsWith("tokenizer") ? files.tokenizer(tokenizer) : Optional.empty();
                if (folder.isPresent()) {
                    parts.put(tokenizer, folderDigest(folder.get()));
                }
            }
            parts.put("scheduler", files.samplerConfig());
        }
        for (int i = 0; i < loras.size(); i++) {
            Path file = loras.get(i).file();
            parts.put(
                    "lora " + i,
                    List.of(
                            Files.isDirectory(file) ? folderDigest(file) : Digest.sha256(file),
                            loras.get(i).weight()));
        }
        return Digest.sha256(Json.canonical(parts).getBytes(StandardCharsets.UTF_8));
    }

    private static String folderDigest(Path folder) throws IOException {
        Digest digest = new Digest();
        try (var files = Files.list(folder)) {
            for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
                String line = file.getFileName() + " " + Digest.sha256(file) + "\n";
                digest.update(java.nio.ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)));
            }
        }
        return digest.hex();
    }
}
