package org.smpo.evaluate;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.network.Prompt;

/// What an evaluation is.
///
/// Picture k of prompt p has the seed `seed + p * picturesPerPrompt + k`, so that no two begin from equal noise and
/// each can be made again with `smpo generate`; a prompt that brings its own seed has one picture, of that seed.
/// All models draw from the same noise.
///
/// @param models two or more names or one; the first is what the others are compared with
/// @param prompts at least one; categories are kept
/// @param negativePrompt for prompts without their own; null: none
/// @param seed of the first picture
/// @param picturesPerPrompt 1 or more
/// @param drawing how they are drawn
/// @param measures at least one, of different names
/// @param bootstrap of the intervals
/// @param gallery pictures of each kind that the report shows for each model: gains, losses and random ones
/// @param provenance where the program and the request came from
/// @param notes sections that the report shows besides its own
public record EvaluationRequest(
        List<EvaluatedModel> models,
        List<Prompt> prompts,
        String negativePrompt,
        long seed,
        int picturesPerPrompt,
        Drawing drawing,
        List<Measure.Source> measures,
        Bootstrap bootstrap,
        int gallery,
        Provenance provenance,
        List<Note> notes) {
    private static final int MOST_PICTURES = 10_000_000;

    /// Columns of the results that are no measures.
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

    /// Where program and request came from.
    ///
    /// @param version of the program
    /// @param commit of its sources
    /// @param library version, commit and LibTorch of the native library
    /// @param command that asked for it, as one would type it
    public record Provenance(String version, String commit, String library, String command) {}

    /// A section of the report that its caller brings: a paragraph and a table, either of which may be empty.
    ///
    /// @param title of the section
    /// @param paragraph plain text
    /// @param columns of the table; empty: no table
    /// @param rows a text for each column; the first names the row
    public record Note(String title, String paragraph, List<String> columns, List<List<String>> rows) {
        public Note {
            columns = List.copyOf(columns);
            rows = rows.stream().map(List::copyOf).toList();
        }

        /// Names and values.
        public static Note of(String title, String paragraph, Map<String, String> values) {
            List<List<String>> rows = new ArrayList<>();
            values.forEach((name, value) -> rows.add(List.of(name, value)));
            return new Note(title, paragraph, rows.isEmpty() ? List.of() : List.of("", "Value"), rows);
        }
    }

    /// A picture that every model draws.
    ///
    /// @param index its place among all
    /// @param promptIndex place of its prompt
    /// @param prompt with the negative one and the seed that are drawn
    record Picture(int index, int promptIndex, Prompt prompt) {
        long seed() {
            return prompt.seed().getAsLong();
        }
    }

    /// @throws IllegalArgumentException naming what is missing, twice there or out of range
    public EvaluationRequest {
        models = List.copyOf(models);
        prompts = List.copyOf(prompts);
        measures = List.copyOf(measures);
        notes = List.copyOf(notes);
        require(!models.isEmpty(), "models", "at least one", "none");
        require(!prompts.isEmpty(), "prompts", "at least one", "none");
        require(!measures.isEmpty(), "measures", "at least one", "none");
        require(picturesPerPrompt >= 1, "pictures per prompt", "1 or more", picturesPerPrompt);
        require(
                (long) picturesPerPrompt * prompts.size() <= MOST_PICTURES,
                "pictures",
                "at most " + MOST_PICTURES,
                (long) picturesPerPrompt * prompts.size());
        require(seed >= 0 && seed < 1L << 55, "seed", "0 to 2^55 - 1", seed);
        require(gallery >= 0, "gallery", "0 or more", gallery);
        Set<String> names = new HashSet<>();
        for (EvaluatedModel model : models) {
            require(names.add(model.name()), "models", "different names (NAME=PATH)", "twice " + model.name());
        }
        Set<String> columns = new HashSet<>(RESERVED);
        for (Measure.Source measure : measures) {
            require(
                    measure.name().matches("[A-Za-z0-9_-]{1,40}"),
                    "measure",
                    "a name of 1 to 40 letters, digits, _ and -",
                    measure.name());
            require(columns.add(measure.name()), "measures", "different names", "twice " + measure.name());
        }
    }

    private static void require(boolean holds, String what, String expected, Object found) {
        if (!holds) {
            throw new IllegalArgumentException(what + ": expected " + expected + ", got " + found);
        }
    }

    /// The same with the sides of its pictures.
    EvaluationRequest withSides(int width, int height) {
        return new EvaluationRequest(
                models,
                prompts,
                negativePrompt,
                seed,
                picturesPerPrompt,
                drawing.withSides(width, height),
                measures,
                bootstrap,
                gallery,
                provenance,
                notes);
    }

    /// Every picture, in the order in which they are drawn.
    List<Picture> pictures() {
        List<Picture> pictures = new ArrayList<>();
        for (int p = 0; p < prompts.size(); p++) {
            Prompt prompt = prompts.get(p);
            String negative = prompt.negative() == null ? negativePrompt : prompt.negative();
            long first = prompt.seed().orElse(seed + (long) p * picturesPerPrompt);
            for (int k = 0; k < (prompt.seed().isPresent() ? 1 : picturesPerPrompt); k++) {
                Prompt drawn = new Prompt(prompt.text(), negative, OptionalLong.of(first + k), prompt.category());
                pictures.add(new Picture(pictures.size(), p, drawn));
            }
        }
        return pictures;
    }

    /// SHA-256 of what is drawn: texts, negative ones, categories and seeds.
    String promptsDigest() {
        List<Object> all = new ArrayList<>();
        for (Picture picture : pictures()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("prompt", picture.prompt().text());
            one.put("negative_prompt", picture.prompt().negative());
            one.put("category", picture.prompt().category());
            one.put("seed", picture.seed());
            all.add(one);
        }
        return Digest.sha256(Json.canonical(all).getBytes(StandardCharsets.UTF_8));
    }
}
