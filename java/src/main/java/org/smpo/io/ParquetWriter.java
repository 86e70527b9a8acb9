package org.smpo.io;

import java.io.IOException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.SortedMap;
import java.util.stream.Collectors;
import org.duckdb.DuckDBAppender;
import org.duckdb.DuckDBConnection;

/// Writes Parquet files with zstd compression. Equal rows and metadata give equal bytes.
public final class ParquetWriter {
    /// Small row groups, because a reader of scattered rows decompresses whole groups.
    private static final int ROW_GROUP_SIZE = 2048;

    private final DuckDBAppender appender;
    private final List<Column> columns;

    private ParquetWriter(DuckDBAppender appender, List<Column> columns) {
        this.appender = appender;
        this.columns = columns;
    }

    private enum Type {
        TEXT("VARCHAR"),
        INTEGER("BIGINT"),
        NUMBER("DOUBLE"),
        BYTES("BLOB");

        private final String sql;

        Type(String sql) {
            this.sql = sql;
        }
    }

    /// Name and type of a column, whose values may be null.
    public static final class Column {
        private final String name;
        private final Type type;

        private Column(String name, Type type) {
            this.name = name;
            this.type = type;
        }

        /// A column of String values.
        public static Column text(String name) {
            return new Column(name, Type.TEXT);
        }

        /// A column of Long values.
        public static Column integer(String name) {
            return new Column(name, Type.INTEGER);
        }

        /// A column of Double values.
        public static Column number(String name) {
            return new Column(name, Type.NUMBER);
        }

        /// A column of byte arrays.
        public static Column bytes(String name) {
            return new Column(name, Type.BYTES);
        }

        /// Name of the column.
        public String name() {
            return name;
        }
    }

    /// Source of a file's rows.
    @FunctionalInterface
    public interface Rows {
        /// Adds all rows in order.
        void writeTo(ParquetWriter writer) throws IOException;
    }

    /// Writes a file, whole or not at all.
    ///
    /// @param metadata key-value metadata of the file
    /// @throws IOException when the file cannot be written; an old one is then untouched
    public static void write(Path target, List<Column> columns, SortedMap<String, String> metadata, Rows rows)
            throws IOException {
        AtomicFiles.writeFile(target, partial -> {
            try (Connection connection = DuckDb.connect();
                    Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE written("
                        + columns.stream()
                                .map(column -> DuckDb.identifier(column.name) + " " + column.type.sql)
                                .collect(Collectors.joining(", "))
                        + ")");
                try (DuckDBAppender appender = connection
                        .unwrap(DuckDBConnection.class)
                        .createAppender(DuckDBConnection.DEFAULT_SCHEMA, "written")) {
                    rows.writeTo(new ParquetWriter(appender, List.copyOf(columns)));
                }
                String pairs = metadata.entrySet().stream()
                        .map(entry -> DuckDb.text(entry.getKey()) + ": " + DuckDb.text(entry.getValue()))
                        .collect(Collectors.joining(", "));
                statement.execute("COPY written TO " + DuckDb.text(partial.toString())
                        + " (FORMAT parquet, USE_TMP_FILE false, COMPRESSION zstd, ROW_GROUP_SIZE " + ROW_GROUP_SIZE
                        + (pairs.isEmpty() ? "" : ", KV_METADATA {" + pairs + "}") + ")");
            } catch (SQLException e) {
                throw new IOException(DuckDb.message(e), e);
            }
        });
    }

    /// Adds a row.
    ///
    /// @param values one per column: String, Long, Double or byte[] according to its type, or null
    /// @throws IllegalArgumentException when their number is not the number of columns
    public void add(Object... values) throws IOException {
        if (values.length != columns.size()) {
            throw new IllegalArgumentException("row: expected " + columns.size() + " values, got " + values.length);
        }
        try {
            appender.beginRow();
            for (int i = 0; i < values.length; i++) {
                if (values[i] == null) {
                    appender.appendNull();
                    continue;
                }
                switch (columns.get(i).type) {
                    case TEXT -> appender.append((String) values[i]);
                    case INTEGER -> appender.append((long) values[i]);
                    case NUMBER -> appender.append((double) values[i]);
                    case BYTES -> appender.append((byte[]) values[i]);
                }
            }
            appender.endRow();
        } catch (SQLException e) {
            throw new IOException(DuckDb.message(e), e);
        }
    }
}
