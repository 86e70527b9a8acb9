package org.smpo.evaluate;

import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Map;
import java.util.Properties;
import java.util.SortedMap;
import java.util.stream.Collectors;
import org.duckdb.DuckDBAppender;
import org.duckdb.DuckDBConnection;
import org.smpo.io.AtomicFiles;

/// `results.parquet`: a row for each model and image, models in their order, images in theirs; a column for each
/// metric. Equal results make equal bytes.
final class ResultsFile {
    private ResultsFile() {}

    /// Writes the file, whole or not at all.
    static void write(Path target, Results results, SortedMap<String, String> metadata) throws IOException {
        Path made = Files.createTempFile("smpo-results", ".parquet");
        Properties options = new Properties();
        // One thread keeps the order of rows; nothing is fetched.
        options.putAll(
                Map.of("threads", "1", "autoinstall_known_extensions", "false", "autoload_known_extensions", "false"));
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:", options);
                Statement statement = connection.createStatement()) {
            String metrics = results.request().metrics().stream()
                    .map(metric -> ", \"" + metric.name() + "\" DOUBLE")
                    .collect(Collectors.joining());
            statement.execute("CREATE TABLE results(model VARCHAR, model_sha256 VARCHAR, prompt_index BIGINT,"
                    + " prompt VARCHAR, negative_prompt VARCHAR, category VARCHAR, seed BIGINT, picture VARCHAR,"
                    + " picture_sha256 VARCHAR" + metrics + ")");
            append(connection, results);
            String pairs = metadata.entrySet().stream()
                    .map(entry -> quoted(entry.getKey()) + ": " + quoted(entry.getValue()))
                    .collect(Collectors.joining(", "));
            statement.execute("COPY results TO " + quoted(made.toString())
                    + " (FORMAT parquet, COMPRESSION zstd, KV_METADATA {" + pairs + "})");
            AtomicFiles.write(target, out -> Files.copy(made, Channels.newOutputStream(out)));
        } catch (SQLException e) {
            throw new IOException(target + ": not written: " + e.getMessage(), e);
        } finally {
            Files.deleteIfExists(made);
        }
    }

    private static void append(Connection connection, Results results) throws SQLException {
        try (DuckDBAppender appender =
                connection.unwrap(DuckDBConnection.class).createAppender(DuckDBConnection.DEFAULT_SCHEMA, "results")) {
            for (int model = 0; model < results.request().models().size(); model++) {
                for (EvaluationRequest.ImageSpec spec : results.images()) {
                    int at = spec.index();
                    appender.beginRow();
                    appender.append(results.request().models().get(model).name());
                    appender.append(results.modelDigests().get(model));
                    appender.append((long) spec.promptIndex());
                    appender.append(spec.prompt().text());
                    text(appender, spec.prompt().negative());
                    text(appender, spec.prompt().category());
                    appender.append(spec.seed());
                    appender.append(results.file(model, at));
                    appender.append(results.digest(model, at));
                    for (int metric = 0; metric < results.request().metrics().size(); metric++) {
                        appender.append(results.value(metric, model, at));
                    }
                    appender.endRow();
                }
            }
        }
    }

    private static void text(DuckDBAppender appender, String text) throws SQLException {
        if (text == null) {
            appender.appendNull();
        } else {
            appender.append(text);
        }
    }

    private static String quoted(String text) {
        return "'" + text.replace("'", "''") + "'";
    }
}
