package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import org.smpo.io.ParquetWriter;
import org.smpo.io.ParquetWriter.Column;

/// `results.parquet`: one row per model and image, in the order of the models and then of the images, with
/// one column per metric. Equal results give equal bytes.
final class ResultsFile {
    private ResultsFile() {}

    /// Writes the file atomically.
    static void write(Path target, Results results, SortedMap<String, String> metadata) throws IOException {
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
