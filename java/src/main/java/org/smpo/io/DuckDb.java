package org.smpo.io;

import java.io.IOException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Map;
import java.util.Properties;

/// Connections to an in-memory DuckDB, which reads and writes Parquet.
final class DuckDb {
    private DuckDb() {}

    /// Opens a connection that downloads nothing, writes no temporary files, keeps the order of rows and
    /// uses at most 4 GB.
    ///
    /// @throws IOException when its library cannot be loaded or it does not start
    static Connection connect() throws IOException {
        try {
            return DuckDbLibrary.using(() -> DriverManager.getConnection("jdbc:duckdb:", options()));
        } catch (SQLException e) {
            throw new IOException("Parquet: DuckDB does not start: " + message(e), e);
        }
    }

    private static Properties options() {
        Properties options = new Properties();
        options.putAll(Map.of(
                "threads", "1",
                "temp_directory", "",
                // A file of a few kilobytes can hold gigabytes.
                "memory_limit", "4GB",
                "jdbc_stream_results", "true",
                "autoinstall_known_extensions", "false",
                "autoload_known_extensions", "false"));
        return options;
    }

    /// A text literal.
    static String text(String text) {
        return "'" + text.replace("'", "''") + "'";
    }

    /// A column's name as an identifier.
    static String identifier(String name) {
        return '"' + name.replace("\"", "\"\"") + '"';
    }

    /// The literal of a file that exists. DuckDB reads names as glob patterns, so their special characters
    /// become classes of one character each.
    static String existing(Path file) {
        return text(file.toAbsolutePath().toString().replaceAll("[*?\\[]", "[$0]"));
    }

    /// The first line of DuckDB's message, without the name of its exception class.
    static String message(SQLException e) {
        return String.valueOf(e.getMessage())
                .lines()
                .findFirst()
                .orElse("unknown error")
                .replaceFirst("^(?:java\\.sql\\.SQLException: )?(?:[A-Za-z ]+ Error: )+", "");
    }
}
