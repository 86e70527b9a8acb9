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
import org.smpo.checkpoint.OpaqueConfig;
import org.smpo.checkpoint.SingleFile;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.generate.NegativeCondition;
import org.smpo.generate.NegativeNetwork;
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
/// @param negative negative network of its guidance; empty: the model itself
public record EvaluatedModel(
        String name,
        Path path,
        SingleFile.Options options,
        List<Adapter> loras,
        Optional<RunRecords> run,
        Optional<Negative> negative) {
    /// Largest number of characters in a name.
    public static final int LONGEST_NAME = 60;

    private static final String SHA256 = "sha256";

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

    /// A negative network: the UNet of a model with adapters of its own.
    ///
    /// @param name name in the report and in metadata
    /// @param path path of a diffusers folder, a checkpoint, or the folder of a UNet
    /// @param options options for reading a checkpoint; unused for a folder
    /// @param merged adapters of the model that are part of it; modules of text encoders among them are already in
    ///     the text encoders that the model and its negative network share
    /// @param loras adapters that make it the negative network, of the UNet alone
    /// @param condition text that conditions it
    public record Negative(
            String name,
            Path path,
            SingleFile.Options options,
            List<Adapter> merged,
            List<Adapter> loras,
            NegativeCondition condition) {
        public Negative {
            Objects.requireNonNull(path);
            Objects.requireNonNull(options);
            Objects.requireNonNull(condition);
            merged = List.copyOf(merged);
            loras = List.copyOf(loras);
        }

        private ModelFiles files() throws IOException {
            return ModelFiles.open(path, options);
        }

        /// Checks that it can be the negative network of a model, from the files' configs.
        ///
        /// @throws org.smpo.checkpoint.ModelException naming what differs from the model
        public void requireFits(ModelFiles model) throws IOException {
            try (ModelFiles files = files()) {
                NegativeNetwork.unet(model, files);
            }
        }

        /// Loads it into a model that is already loaded.
        ///
        /// @param model files of that model
        public void load(TextToImage generator, ModelFiles model, Precision precision) throws IOException {
            try (ModelFiles files = files()) {
                generator.loadNegative(model, files, precision, condition);
            }
            for (Adapter adapter : merged) {
                try (LoraFile lora = LoraFile.open(adapter.file())) {
                    generator.mergeNegative(lora.lora().only("unet"), adapter.weight());
                }
            }
            for (Adapter adapter : loras) {
                try (LoraFile lora = LoraFile.open(adapter.file())) {
                    generator.mergeNegative(lora.lora(), adapter.weight());
                }
            }
        }

        /// Returns what the metadata of an image records.
        public Map<String, String> metadata() {
            return NegativeNetwork.metadata(name, condition);
        }

        /// Returns the name, the SHA-256 of the network's weights and adapters, and the condition.
        private Map<String, Object> identity() throws IOException {
            Map<String, Object> parts = new LinkedHashMap<>();
            try (ModelFiles files = files()) {
                Component unet = files.unetOrOnly();
                parts.put("unet", unet.sha256());
                parts.put("unet config", unet.config().json().asMap());
            }
            putLoras(parts, "merged lora ", merged);
            putLoras(parts, "lora ", loras);
            Map<String, Object> identity = new LinkedHashMap<>();
            identity.put("name", name);
            identity.put(SHA256, digestOf(parts));
            identity.put("condition", condition.id());
            return identity;
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
        Objects.requireNonNull(negative);
        loras = List.copyOf(loras);
        if (name.isBlank() || name.length() > LONGEST_NAME || name.chars().anyMatch(c -> c < ' ')) {
            throw new IllegalArgumentException(
                    "model name: expected 1 to " + LONGEST_NAME + " characters in one line, got \"" + name + "\"");
        }
    }

    /// Returns a model without adapters or records.
    public static EvaluatedModel of(String name, Path path) {
        return new EvaluatedModel(name, path, SingleFile.Options.none(), List.of(), Optional.empty(), Optional.empty());
    }

    /// Returns the same model with the records of its training.
    public EvaluatedModel with(RunRecords records) {
        return new EvaluatedModel(name, path, options, loras, Optional.of(records), negative);
    }

    /// Returns the same model with a negative network.
    public EvaluatedModel with(Negative network) {
        return new EvaluatedModel(name, path, options, loras, run, Optional.of(network));
    }

    /// Opens the files. The caller closes them.
    ModelFiles files() throws IOException {
        return ModelFiles.open(path, options);
    }

    /// Loads the model with its adapters and its negative network. The caller closes it.
    TextToImage open(String device, Precision precision, int threads) throws IOException {
        try (ModelFiles files = files()) {
            TextToImage model = TextToImage.open(files, device, precision, threads);
            try {
                for (Adapter adapter : loras) {
                    try (LoraFile lora = LoraFile.open(adapter.file())) {
                        model.merge(lora.lora(), adapter.weight());
                    }
                }
                if (negative.isPresent()) {
                    negative.get().load(model, files, precision);
                }
            } catch (IOException | RuntimeException e) {
                model.close();
                throw e;
            }
            return model;
        }
    }

    /// Returns the SHA-256 of everything that decides an image: weights, configs, scheduler, tokenizers, adapters
    /// and the negative network. It does not depend on how the weights are spread over files.
    public String digest() throws IOException {
        return (String) identity().get(SHA256);
    }

    /// Returns the name, the digest, and the identity of the negative network, if there is one.
    Map<String, Object> identity() throws IOException {
        Map<String, Object> parts = parts();
        Map<String, Object> identity = new LinkedHashMap<>();
        identity.put("name", name);
        if (negative.isPresent()) {
            Map<String, Object> network = negative.get().identity();
            identity.put("negative_model", network);
            parts.put("negative", List.of(network.get(SHA256), network.get("condition")));
        }
        identity.put(SHA256, digestOf(parts));
        return identity;
    }

    private Map<String, Object> parts() throws IOException {
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
                Optional<TokenizerFiles> its =
                        tokenizer.startsWith("tokenizer") ? files.tokenizer(tokenizer) : Optional.empty();
                if (its.isPresent()) {
                    parts.put(tokenizer, Digest.ofNamed(its.get().digests()));
                }
            }
            parts.put("scheduler", files.samplerConfig());
        }
        putLoras(parts, "lora ", loras);
        return parts;
    }

    private static void putLoras(Map<String, Object> parts, String prefix, List<Adapter> loras) throws IOException {
        for (int i = 0; i < loras.size(); i++) {
            Path file = loras.get(i).file();
            parts.put(
                    prefix + i,
                    List.of(
                            Files.isDirectory(file) ? Digest.ofNamed(Digest.ofFiles(file)) : Digest.sha256(file),
                            loras.get(i).weight()));
        }
    }

    private static String digestOf(Map<String, Object> parts) {
        return Digest.sha256(Json.canonical(parts).getBytes(StandardCharsets.UTF_8));
    }
}
