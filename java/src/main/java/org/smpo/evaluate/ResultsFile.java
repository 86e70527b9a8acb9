package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.smpo.io.ParquetReader;
import org.smpo.io.ParquetWriter;
import org.smpo.io.ParquetWriter.Column;
import org.smpo.reward.RewardKind;

/// `results.parquet`: one row per model and image, in the order of the models and then of the images, with
/// one column per metric. The key-value metadata names the kind of each reward. Equal results give equal bytes.
final class ResultsFile {
    /// Key of the metadata for the kind of a reward, followed by the name of the reward.
    private static final String KIND = "smpo.reward_kind.";

    private ResultsFile() {}

    /// Returns the kinds of the rewards by name, as far as a results file names them.
    static Map<String, RewardKind> kinds(ParquetReader parquet, Path file) throws IOException {
        Map<String, RewardKind> kinds = new TreeMap<>();
        parquet.metadata(file).forEach((key, id) -> {
            if (key.startsWith(KIND)) {
                RewardKind.of(id).ifPresent(kind -> kinds.put(key.substring(KIND.length()), kind));
            }
        });
        return kinds;
    }

    /// Writes the file atomically.
    ///
    /// @param origin metadata about the evaluation and the program
    static void write(Path target, Results results, Map<String, String> origin) throws IOException {
        SortedMap<String, String> metadata = new TreeMap<>(origin);
        results.request()
                .metrics()
                .forEach(metric ->
                        metric.rewardKind().ifPresent(kind -> metadata.put(KIND + metric.name(), kind.id())));
        List<Column> columns = new ArrayList<>(List.of(
                Column.text("model"),
                Column.text("model_sha256"),
                Column.integer("prompt_index"),
                Column.text("prompt"),
                Column.text("negative_prompt"),
                Column.text("category"),
                Column.integer("seed"),
                Column.text("picture"),
                Column.text("picture_sha256")));
        results.request().metrics().forEach(metric -> columns.add(Column.number(metric.name())));
        ParquetWriter.write(target, columns, metadata, writer -> {
            for (int model = 0; model < results.request().models().size(); model++) {
                for (EvaluationRequest.ImageSpec spec : results.images()) {
                    writer.add(row(results, model, spec));
                }
            }
        });
    }

    private static Object[] row(Results results, int model, EvaluationRequest.ImageSpec spec) {
        int at = spec.index();
        List<Object> row = new ArrayList<>();
        row.add(results.request().models().get(model).name());
        row.add(results.modelDigests().get(model));
        row.add((long) spec.promptIndex());
        row.add(spec.prompt().text());
        row.add(spec.prompt().negative());
        row.add(spec.prompt().category());
        row.add(spec.seed());
        row.add(results.file(model, at));
        row.add(results.digest(model, at));
        for (int metric = 0; metric < results.request().metrics().size(); metric++) {
            row.add(results.value(metric, model, at));
        }
        return row.toArray();
    }
}
