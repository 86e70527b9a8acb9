package org.smpo.evaluate;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.NegativeCondition;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.network.Prompt;

/// Configuration of an evaluation.
///
/// Image k of prompt p has the seed `seed + p * imagesPerPrompt + k`, so that no two images start from the
/// same noise and `smpo generate` can reproduce each of them. A prompt with a seed of its own has one
/// image, of that seed. All models start from the same noise.
///
/// @param models models to compare, with distinct names; the others are compared with the first
/// @param prompts prompts, with their categories
/// @param negativePrompt negative prompt for prompts without their own; null: none
/// @param seed seed of the first image
/// @param imagesPerPrompt number of images per prompt
/// @param generation settings of the generation
/// @param metrics metrics, with distinct names
/// @param bootstrap resampling scheme of the intervals
/// @param gallery number of images of each kind in the report, per model: gains, losses and random ones
/// @param provenance origin of the program and of the request
/// @param notes additional sections of the report
public record EvaluationRequest(
        List<EvaluatedModel> models,
        List<Prompt> prompts,
        String negativePrompt,
        long seed,
        int imagesPerPrompt,
        GenerationSetup generation,
        List<Metric.Source> metrics,
        Bootstrap bootstrap,
        int gallery,
        Provenance provenance,
        List<Note> notes) {
    private static final int MOST_IMAGES = 10_000_000;

    /// Columns of the results that are not metrics.
    static final Set<String> RESERVED = Set.of(
            "model",
            "model_sha256",
            "prompt_index",
            "prompt",
            "negative_prompt",
            "category",
            "seed",
            "picture",
            "picture_sha256");

    /// Origin of the program and of the request.
    ///
    /// @param version version of the program
    /// @param commit commit of its sources
    /// @param library version, commit and LibTorch version of the native library
    /// @param command command line that requested the evaluation
    public record Provenance(String version, String commit, String library, String command) {
        /// Returns the origin of another request of the same program.
        public Provenance withCommand(String other) {
            return new Provenance(version, commit, library, other);
        }
    }

    /// An additional section of the report: a paragraph and a table, either of which may be empty.
    ///
    /// @param title title of the section
    /// @param paragraph plain text
    /// @param columns headings of the table; empty: no table
    /// @param rows one text per column; the first names the row
    public record Note(String title, String paragraph, List<String> columns, List<List<String>> rows) {
        public Note {
            columns = List.copyOf(columns);
            rows = rows.stream().map(List::copyOf).toList();
        }

        /// Returns a note with a table of names and values.
        public static Note of(String title, String paragraph, Map<String, String> values) {
            List<List<String>> rows = new ArrayList<>();
            values.forEach((name, value) -> rows.add(List.of(name, value)));
            return new Note(title, paragraph, rows.isEmpty() ? List.of() : List.of("", "Value"), rows);
        }
    }

    /// An image that every model generates.
    ///
    /// @param index position among all images
    /// @param promptIndex position of its prompt
    /// @param prompt prompt with the negative prompt and the seed in use
    record ImageSpec(int index, int promptIndex, Prompt prompt) {
        long seed() {
            return prompt.seed().getAsLong();
        }
    }

    /// @throws IllegalArgumentException naming what is missing, duplicated or out of range
    public EvaluationRequest {
        models = List.copyOf(models);
        prompts = List.copyOf(prompts);
        metrics = List.copyOf(metrics);
        notes = List.copyOf(notes);
        require(!models.isEmpty(), "models", "at least one", "none");
        require(!prompts.isEmpty(), "prompts", "at least one", "none");
        require(!metrics.isEmpty(), "metrics", "at least one", "none");
        require(imagesPerPrompt >= 1, "images per prompt", "1 or more", imagesPerPrompt);
        require(
                (long) imagesPerPrompt * prompts.size() <= MOST_IMAGES,
                "images",
                "at most " + MOST_IMAGES,
                (long) imagesPerPrompt * prompts.size());
        require(seed >= 0 && seed < 1L << 55, "seed", "0 to 2^55 - 1", seed);
        require(gallery >= 0, "gallery", "0 or more", gallery);
        Set<String> names = new HashSet<>();
        for (EvaluatedModel model : models) {
            require(names.add(model.name()), "models", "distinct names (NAME=PATH)", "a second " + model.name());
            if (model.negative().isPresent()) {
                requireUsed(model, generation.config(), prompts, negativePrompt);
            }
        }
        Set<String> columns = new HashSet<>(RESERVED);
        for (Metric.Source metric : metrics) {
            require(
                    metric.name().matches("[A-Za-z0-9_-]{1,40}"),
                    "metric",
                    "a name of 1 to 40 letters, digits, _ and -",
                    metric.name());
            require(columns.add(metric.name()), "metrics", "distinct names", "a second " + metric.name());
        }
    }

    private static void requireUsed(
            EvaluatedModel model, GenerationConfig config, List<Prompt> prompts, String negativePrompt) {
        try {
            config.requireGuidance();
            NegativeCondition condition = model.negative().orElseThrow().condition();
            condition.requireFits(prompts);
            condition.requireFits(List.of(new Prompt("", negativePrompt, OptionalLong.empty())));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(model.name() + ": " + e.getMessage(), e);
        }
    }

    static void require(boolean holds, String what, String expected, Object found) {
        if (!holds) {
            throw new IllegalArgumentException(what + ": expected " + expected + ", got " + found);
        }
    }

    /// Returns the same request with these image sizes.
    EvaluationRequest withSides(int width, int height) {
        return new EvaluationRequest(
                models,
                prompts,
                negativePrompt,
                seed,
                imagesPerPrompt,
                generation.withSides(width, height),
                metrics,
                bootstrap,
                gallery,
                provenance,
                notes);
    }

    /// Returns every image in the order of generation.
    List<ImageSpec> images() {
        List<ImageSpec> images = new ArrayList<>();
        for (int p = 0; p < prompts.size(); p++) {
            Prompt prompt = prompts.get(p);
            String negative = prompt.negative() == null ? negativePrompt : prompt.negative();
            long first = prompt.seed().orElse(seed + (long) p * imagesPerPrompt);
            for (int k = 0; k < (prompt.seed().isPresent() ? 1 : imagesPerPrompt); k++) {
                Prompt generated = new Prompt(prompt.text(), negative, OptionalLong.of(first + k), prompt.category());
                images.add(new ImageSpec(images.size(), p, generated));
            }
        }
        return images;
    }

    /// Returns the SHA-256 of all prompts, negative prompts, categories and seeds.
    String promptsDigest() {
        List<Object> all = new ArrayList<>();
        for (ImageSpec spec : images()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("prompt", spec.prompt().text());
            one.put("negative_prompt", spec.prompt().negative());
            one.put("category", spec.prompt().category());
            one.put("seed", spec.seed());
            all.add(one);
        }
        return Digest.sha256(Json.canonical(all).getBytes(StandardCharsets.UTF_8));
    }
}
