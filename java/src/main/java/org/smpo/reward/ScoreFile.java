package org.smpo.reward;

import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.duckdb.DuckDBAppender;
import org.duckdb.DuckDBConnection;
import org.smpo.io.AtomicFiles;

/// A score file in Parquet: columns `id` (text), `row` (int64), `score_0` and `score_1` (float64, null where the pair
/// is
/// bad), in the order of the rows. The file's key-value metadata hold what the scores were made from. Equal rows and
/// metadata produce equal bytes.
final class ScoreFile {
    private ScoreFile() {}

    record Content(List<ScoredPair> rows, SortedMap<String, String> metadata) {}

    /// Writes a file atomically.
    static void write(Path target, List<ScoredPair> rows, SortedMap<String, String> metadata) throws IOException {
        Path made = Files.createTempFile("smpo-scores", ".parquet");
        try (Connection connection = connect()) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE scores(id VARCHAR, \"row\" BIGINT, score_0 DOUBLE, score_1 DOUBLE)");
                append(connection, rows);
                String pairs = metadata.entrySet().stream()
                        .map(entry -> quoted(entry.getKey()) + ": " + quoted(entry.getValue()))
                        .collect(Collectors.joining(", "));
                statement.execute("COPY (SELECT * FROM scores ORDER BY \"row\") TO " + quoted(made.toString())
                        + " (FORMAT parquet, COMPRESSION zstd, KV_METADATA {" + pairs + "})");
            }
            AtomicFiles.write(target, out -> Files.copy(made, Channels.newOutputStream(out)));
        } catch (SQLException e) {
            throw new IOException(target + ": not written: " + e.getMessage(), e);
        } finally {
            Files.deleteIfExists(made);
        }
    }

    private static void append(Connection connection, List<ScoredPair> rows) throws SQLException {
        try (DuckDBAppender appender =
                connection.unwrap(DuckDBConnection.class).createAppender(DuckDBConnection.DEFAULT_SCHEMA, "scores")) {
            for (ScoredPair pair : rows) {
                appender.beginRow();
                appender.append(pair.id());
                appender.append(pair.row());
                if (pair.scored()) {
                    appender.append(pair.score0());
                    appender.append(pair.score1());
                } else {
                    appender.appendNull();
                    appender.appendNull();
                }
                appender.endRow();
            }
        }
    }

    /// Reads a file.
    ///
    /// @throws IOException when it is not Parquet, lacks a column, or holds values that are not scores
    static Content read(Path file) throws IOException {
        if (!Files.isRegularFile(file)) {
            throw new IOException(file + ": expected a score file, found nothing");
        }
        String name = quoted(file.toString());
        try (Connection connection = connect();
                Statement statement = connection.createStatement()) {
            SortedMap<String, String> metadata = new TreeMap<>();
            try (ResultSet result = statement.executeQuery(
                    "SELECT decode(key), decode(value) FROM parquet_kv_metadata(" + name + ")")) {
                while (result.next()) {
                    if (result.getString(1).startsWith("smpo.")) {
                        metadata.put(result.getString(1), result.getString(2));
                    }
                }
            }
            List<ScoredPair> rows = new ArrayList<>();
            try (ResultSet result = statement.executeQuery("SELECT id::VARCHAR, \"row\"::BIGINT, score_0::DOUBLE,"
                    + " score_1::DOUBLE FROM read_parquet(" + name + ") ORDER BY \"row\"")) {
                while (result.next()) {
                    rows.add(row(file, result));
                }
            }
            return new Content(rows, metadata);
        } catch (SQLException e) {
            throw new IOException(file + ": expected Parquet with id, row, score_0 and score_1: " + e.getMessage(), e);
        }
    }

    private static ScoredPair row(Path file, ResultSet result) throws SQLException, IOException {
        String id = result.getString(1);
        long row = result.getLong(2);
        boolean placed = !result.wasNull();
        double score0 = result.getDouble(3);
        boolean has0 = !result.wasNull();
        double score1 = result.getDouble(4);
        boolean has1 = !result.wasNull();
        boolean finite = (!has0 || Double.isFinite(score0)) && (!has1 || Double.isFinite(score1));
        if (id == null || !placed || has0 != has1 || !finite) {
            throw new IOException(
                    file + ": row " + row + ": expected an id, a row and two finite scores or none, found " + id + ", "
                            + (placed ? row : null) + ", " + (has0 ? score0 : null) + ", " + (has1 ? score1 : null));
        }
        return has0 ? ScoredPair.of(row, id, score0, score1) : ScoredPair.bad(row, id, "not scored");
    }

    private static Connection connect() throws SQLException {
        Map<String, String> options = Map.of(
                // One thread keeps the order of the rows. Extensions are never downloaded.
                "threads", "1",
                "autoinstall_known_extensions", "false",
                "autoload_known_extensions", "false");
        java.util.Properties properties = new java.util.Properties();
        properties.putAll(options);
        return DriverManager.getConnection("jdbc:duckdb:", properties);
    }

    private static String quoted(String text) {
        return "'" + text.replace("'", "''") + "'";
    }
}
