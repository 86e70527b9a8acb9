package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.smpo.io.AtomicFiles;
import org.smpo.io.ParquetReader;
import tools.jackson.databind.json.JsonMapper;

/// Preference pairs of a model's own images: for each prompt of an evaluation, the image with the highest
/// score and the image with the lowest.
///
/// The result is a folder with `pairs.jsonl`, as [org.smpo.data.PairSource] reads it, with copies of the
/// images, labels and scores. The image of the lower seed comes first, so that the position carries no
/// information.
public final class GeneratedPairs {
    /// The file that lists the pairs. It is written last, so a folder that has it is complete.
    public static final String LIST = "pairs.jsonl";

    private static final String IMAGES = "pictures";
    private static final JsonMapper JSON = JsonMapper.shared();

    /// Column of the image's file in the results.
    private static final String FILE = "picture";

    private final Path evaluation;
    private final String model;
    private final String metric;

    private GeneratedPairs(Path evaluation, String model, String metric) {
        this.evaluation = evaluation;
        this.model = model;
        this.metric = metric;
    }

    /// Numbers of what was written.
    ///
    /// @param pairs number of pairs
    /// @param ties number of prompts without a pair: all of their images score the same, or there is only
    ///     one
    public record Made(int pairs, int ties) {}

    /// A scored image of a prompt.
    private record Scored(String file, long seed, double score) {}

    /// Writes the pairs of a finished evaluation.
    ///
    /// @param evaluation folder of the evaluation
    /// @param model name of the model in the evaluation; null: its first model
    /// @param metric name of the metric in the evaluation
    /// @param target folder for the pairs; created, or empty
    /// @throws IllegalArgumentException when the evaluation has no such model or metric, naming those it
    ///     has
    /// @throws IOException when the evaluation is unfinished, an image is missing, or a file cannot be
    ///     written
    public static Made write(Path evaluation, String model, String metric, Path target) throws IOException {
        Path results = evaluation.resolve("results.parquet");
        if (Files.notExists(results)) {
            throw new IOException(evaluation + ": expected a finished evaluation, found no results.parquet");
        }
        try (ParquetReader parquet = ParquetReader.open()) {
            List<String> metrics = new ArrayList<>(parquet.columns(results).keySet());
            metrics.removeAll(EvaluationRequest.RESERVED);
            require("metric", metric, metrics);
            Set<String> models = new LinkedHashSet<>();
            parquet.read(results, List.of("model"), (row, values) -> models.add((String) values.getFirst()));
            String chosen = model == null ? models.iterator().next() : model;
            require("model", chosen, models);
            return new GeneratedPairs(evaluation, chosen, metric).write(parquet, results, target);
        }
    }

    private static void require(String what, String name, Collection<String> names) {
        if (!names.contains(name)) {
            throw new IllegalArgumentException(
                    what + ": expected one of the evaluation's, " + String.join(", ", names) + "; got " + name);
        }
    }

    private Made write(ParquetReader parquet, Path results, Path target) throws IOException {
        Files.createDirectories(target.resolve(IMAGES));
        Map<Long, String> captions = new TreeMap<>();
        Map<Long, List<Scored>> byPrompt = new TreeMap<>();
        List<String> columns =
                List.of("model", "prompt_index", "prompt", "picture", "seed", ParquetReader.column(metric));
        parquet.read(results, columns, (row, values) -> {
            if (model.equals(values.get(0))) {
                long prompt = (Long) values.get(1);
                captions.put(prompt, (String) values.get(2));
                byPrompt.computeIfAbsent(prompt, none -> new ArrayList<>())
                        .add(new Scored((String) values.get(3), (Long) values.get(4), (Double) values.get(5)));
            }
        });
        StringBuilder lines = new StringBuilder();
        int pairs = 0;
        int ties = 0;
        for (Map.Entry<Long, List<Scored>> entry : byPrompt.entrySet()) {
            entry.getValue().sort(Comparator.comparingLong(Scored::seed));
            String line = line(captions.get(entry.getKey()), entry.getKey(), entry.getValue(), target);
            if (line == null) {
                ties++;
            } else {
                lines.append(line).append('\n');
                pairs++;
            }
        }
        AtomicFiles.write(target.resolve(LIST), lines.toString());
        return new Made(pairs, ties);
    }

    /// Copies the images of a pair.
    ///
    /// @param images images of one prompt, by seed
    /// @return the line of the pair, or null when all images score the same
    private String line(String caption, long prompt, List<Scored> images, Path target) throws IOException {
        Scored best = images.getFirst();
        Scored worst = images.getFirst();
        for (Scored image : images) {
            best = image.score > best.score ? image : best;
            worst = image.score < worst.score ? image : worst;
        }
        if (!(best.score > worst.score)) {
            return null;
        }
        boolean first = best.seed < worst.seed;
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("id", model + "-" + prompt);
        line.put("caption", caption);
        line.put("image_0", copied(prompt, first ? best : worst, target));
        line.put("image_1", copied(prompt, first ? worst : best, target));
        line.put("label", first ? 0 : 1);
        line.put("score_0", (first ? best : worst).score);
        line.put("score_1", (first ? worst : best).score);
        return JSON.writeValueAsString(line);
    }

    /// The image that a row names. The name may not lead out of the folder, since evaluations come from
    /// strangers too.
    private Path image(String file) throws IOException {
        Path root = evaluation.toAbsolutePath().normalize();
        Path found;
        try {
            found = file == null ? root : root.resolve(file).normalize();
        } catch (InvalidPathException e) {
            found = root;
        }
        if (found.equals(root) || !found.startsWith(root) || Path.of(file).isAbsolute()) {
            throw new IOException(
                    evaluation.resolve("results.parquet") + ": column " + FILE + ": expected a file name in "
                            + evaluation + ", found " + file + "; evaluate again, or restore the original file");
        }
        return found;
    }

    private String copied(long prompt, Scored image, Path target) throws IOException {
        String name = IMAGES + "/" + prompt + "-" + image.seed + ".png";
        Files.copy(image(image.file), target.resolve(name), StandardCopyOption.REPLACE_EXISTING);
        return name;
    }
}
