package org.smpo.io;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Blob;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;

/// Reads the schema, the metadata and selected rows of Parquet files. Not safe for use by several threads at
/// once.
public final class ParquetReader implements Closeable {
    private static final String ROW_NUMBER = "file_row_number";

    private final Connection connection;

    private ParquetReader(Connection connection) {
        this.connection = connection;
    }

    /// Receives the rows of a query.
    @FunctionalInterface
    public interface RowReader {
        /// Takes one row.
        ///
        /// @param row number of the row in its file, from 0
        /// @param values one per expression: String, Long, Double, Boolean, byte[], null, or any
        ///     other object that DuckDB returns
        void take(int row, List<Object> values) throws IOException;
    }

    /// Opens a reader for any number of files.
    public static ParquetReader open() throws IOException {
        return new ParquetReader(DuckDb.connect());
    }

    /// The quoted name of a column, for expressions that [#read] takes.
    public static String column(String name) {
        return DuckDb.identifier(name);
    }

    /// The columns of a file and their SQL types, such as `VARCHAR` or `STRUCT(bytes BLOB, path VARCHAR)`.
    ///
    /// @throws IOException when the file is not Parquet
    public Map<String, String> columns(Path file) throws IOException {
        Map<String, String> columns = new LinkedHashMap<>();
        query(file, "DESCRIBE SELECT * FROM " + table(file, false), rows -> {
            while (rows.next()) {
                columns.put(rows.getString(1), rows.getString(2));
            }
        });
        return columns;
    }

    /// Number of rows of a file.
    ///
    /// @throws IOException when the file is not Parquet
    public int rows(Path file) throws IOException {
        long[] count = new long[1];
        query(file, "SELECT num_rows FROM parquet_file_metadata(" + DuckDb.existing(file) + ")", rows -> {
            rows.next();
            count[0] = rows.getLong(1);
        });
        // A row of data takes a byte or more; a small file with very many rows would exhaust the memory.
        long limit = Math.min(Files.size(file), Integer.MAX_VALUE);
        if (count[0] > limit) {
            throw new IOException(file + ": expected at most " + limit + " rows in a file of " + Files.size(file)
                    + " bytes, found " + count[0]);
        }
        return (int) count[0];
    }

    /// The key-value metadata of a file.
    ///
    /// @throws IOException when the file is not Parquet
    public SortedMap<String, String> metadata(Path file) throws IOException {
        SortedMap<String, String> metadata = new TreeMap<>();
        String query = "SELECT decode(key), decode(value) FROM parquet_kv_metadata(" + DuckDb.existing(file) + ")";
        query(file, query, rows -> {
            while (rows.next()) {
                metadata.put(rows.getString(1), rows.getString(2));
            }
        });
        return metadata;
    }

    /// Reads all rows of a file in order.
    ///
    /// @param expressions SQL expressions over the file's columns
    /// @throws IOException when the file cannot be read
    public void read(Path file, List<String> expressions, RowReader reader) throws IOException {
        select(file, expressions, " ORDER BY " + ROW_NUMBER, reader);
    }

    /// Reads some rows of a file, in any order. Only the row groups that hold them are decompressed.
    ///
    /// @param expressions SQL expressions over the file's columns
    /// @param rows row numbers, from 0; rows that do not exist are left out
    /// @throws IOException when the file cannot be read
    public void read(Path file, List<String> expressions, List<Integer> rows, RowReader reader) throws IOException {
        String wanted = rows.stream().map(String::valueOf).collect(Collectors.joining(", "));
        select(file, expressions, " WHERE " + ROW_NUMBER + " IN (" + wanted + ")", reader);
    }

    private void select(Path file, List<String> expressions, String which, RowReader reader) throws IOException {
        String selected =
                expressions.stream().map(expression -> ", " + expression).collect(Collectors.joining());
        query(file, "SELECT " + ROW_NUMBER + selected + " FROM " + table(file, true) + which, rows -> {
            while (rows.next()) {
                Object[] values = new Object[expressions.size()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = value(rows.getObject(i + 2));
                }
                reader.take(Math.toIntExact(rows.getLong(1)), Collections.unmodifiableList(Arrays.asList(values)));
            }
        });
    }

    private static Object value(Object value) throws SQLException {
        return switch (value) {
            case Float number -> number.doubleValue();
            case Byte number -> number.longValue();
            case Short number -> number.longValue();
            case Integer number -> number.longValue();
            case Blob blob -> blob.length() == 0 ? new byte[0] : blob.getBytes(1, Math.toIntExact(blob.length()));
            case null, default -> value;
        };
    }

    private static String table(Path file, boolean rowNumbers) {
        return "read_parquet(" + DuckDb.existing(file) + (rowNumbers ? ", file_row_number = true)" : ")");
    }

    /// Takes the rows of a result.
    @FunctionalInterface
    private interface Result {
        void read(ResultSet rows) throws SQLException, IOException;
    }

    private void query(Path file, String sql, Result result) throws IOException {
        if (!Files.isRegularFile(file)) {
            throw new IOException(file + ": expected a Parquet file, found nothing");
        }
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            result.read(rows);
        } catch (SQLException e) {
            throw new IOException(
                    file + ": expected a readable Parquet file, found one that is not: " + DuckDb.message(e), e);
        }
    }

    @Override
    public void close() throws IOException {
        try {
            connection.close();
        } catch (SQLException e) {
            throw new IOException("Parquet: DuckDB does not close: " + DuckDb.message(e), e);
        }
    }
}
