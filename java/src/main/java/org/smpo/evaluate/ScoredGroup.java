package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.smpo.io.ParquetReader;
import org.smpo.reward.RewardKind;

/// The images that a model generated for one prompt of an evaluation, with their scores.
///
/// @param prompt index of the prompt
/// @param caption text of the prompt
/// @param images images by increasing seed, at least one
record ScoredGroup(long prompt, String caption, List<Image> images) {
    /// Column of the image's file in the results.
    private static final String FILE = "picture";

    /// An image and its scores.
    ///
    /// @param file path of the image file
    /// @param seed seed of the image
    /// @param scores scores in the order of the metrics that were asked for
    record Image(Path file, long seed, List<Double> scores) {
        double score(int metric) {
            return scores.get(metric);
        }
    }

    /// The groups of one model.
    ///
    /// @param model name of the model in the evaluation
    /// @param kinds kinds of the evaluation's rewards by name, as far as it records them
    /// @param all groups by increasing prompt
    record Groups(String model, Map<String, RewardKind> kinds, List<ScoredGroup> all) {}

    /// Reads the groups of a finished evaluation.
    ///
    /// @param evaluation folder of the evaluation
    /// @param model name of the model in the evaluation; null: its first model
    /// @param metrics names of the metrics to read
    /// @throws IllegalArgumentException when the evaluation has no such model or metric, naming those it has
    /// @throws IOException when the evaluation is unfinished or a score is not finite
    static Groups read(Path evaluation, String model, List<String> metrics) throws IOException {
        Path results = results(evaluation);
        try (ParquetReader parquet = ParquetReader.open()) {
            List<String> known = new ArrayList<>(parquet.columns(results).keySet());
            known.removeAll(EvaluationRequest.RESERVED);
            for (String metric : metrics) {
                require("metric", metric, known);
            }
            Set<String> models = new LinkedHashSet<>();
            parquet.read(results, List.of("model"), (row, values) -> models.add((String) values.getFirst()));
            String chosen = model == null ? models.iterator().next() : model;
            require("model", chosen, models);
            return new Groups(chosen, ResultsFile.kinds(parquet, results), read(parquet, evaluation, chosen, metrics));
        }
    }

    /// Returns the table of an evaluation's results.
    ///
    /// @throws IOException when there is none
    static Path results(Path evaluation) throws IOException {
        Path results = evaluation.resolve("results.parquet");
        if (Files.notExists(results)) {
            throw new IOException(evaluation + ": expected a finished evaluation, found no results.parquet");
        }
        return results;
    }

    private static void require(String what, String name, Collection<String> names) {
        if (!names.contains(name)) {
            throw new IllegalArgumentException(
                    what + ": expected one of the evaluation's, " + String.join(", ", names) + "; got " + name);
        }
    }

    private static List<ScoredGroup> read(ParquetReader parquet, Path evaluation, String model, List<String> metrics)
            throws IOException {
        Path results = results(evaluation);
        Map<Long, String> captions = new TreeMap<>();
        Map<Long, List<Image>> images = new TreeMap<>();
        List<String> columns = new ArrayList<>(List.of("model", "prompt_index", "prompt", FILE, "seed"));
        int fixed = columns.size();
        metrics.forEach(metric -> columns.add(ParquetReader.column(metric) + "::DOUBLE"));
        parquet.read(results, columns, (row, values) -> {
            if (!model.equals(values.get(0))) {
                return;
            }
            List<Double> scores = new ArrayList<>();
            for (int metric = 0; metric < metrics.size(); metric++) {
                if (!(values.get(fixed + metric) instanceof Double score) || !Double.isFinite(score)) {
                    throw new IOException(results.getFileName() + ": row " + row + ": " + metrics.get(metric)
                            + ": expected a finite number, found " + values.get(fixed + metric)
                            + "; evaluate the image again");
                }
                scores.add(score);
            }
            long prompt = (Long) values.get(1);
            captions.put(prompt, (String) values.get(2));
            images.computeIfAbsent(prompt, none -> new ArrayList<>())
                    .add(new Image(
                            image(evaluation, (String) values.get(3)), (Long) values.get(4), List.copyOf(scores)));
        });
        return images.entrySet().stream()
                .map(entry -> new ScoredGroup(
                        entry.getKey(),
                        captions.get(entry.getKey()),
                        entry.getValue().stream()
                                .sorted(Comparator.comparingLong(Image::seed))
                                .toList()))
                .collect(Collectors.toList());
    }

    /// Returns the image that a row names. The name may not lead out of the folder, since evaluations come from
    /// strangers too.
    private static Path image(Path evaluation, String file) throws IOException {
        Path root = evaluation.toAbsolutePath().normalize();
        Path found;
        try {
            found = file == null ? root : root.resolve(file).normalize();
        } catch (InvalidPathException e) {
            found = root;
        }
        if (found.equals(root) || !found.startsWith(root) || Path.of(file).isAbsolute()) {
            throw new IOException(evaluation.resolve("results.parquet") + ": column " + FILE
                    + ": expected a file name in " + evaluation + ", found " + file
                    + "; evaluate again, or restore the original file");
        }
        return found;
    }

    /// Returns the scores by some of the metrics, `[images][metrics]`.
    ///
    /// @param metrics indices of the metrics
    double[][] scores(List<Integer> metrics) {
        return images.stream()
                .map(image -> metrics.stream().mapToDouble(image::score).toArray())
                .toArray(double[][]::new);
    }
}
