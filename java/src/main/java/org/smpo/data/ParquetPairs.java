package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.sql.Blob;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Collectors;

/// Pick-a-Pic's Parquet, one file or many, read by an in-memory DuckDB.
///
/// Labels are read at the beginning, a column at a time. Images are read by row number, one query per file and
/// window; DuckDB reads only the row groups that hold them. A window of scattered rows so costs about as many row
/// groups as it has rows; files with one large row group are read whole each time, and better rewritten.
final class ParquetPairs implements PairSource {
    private final Path root;
    private final List<Table> tables;
    private final int[] firsts;
    private final PairLabels labels;
    private final Connection connection;
    private final ReentrantLock lock = new ReentrantLock();

    private ParquetPairs(Path root, List<Table> tables, int[] firsts, PairLabels labels, Connection connection) {
        this.root = root;
        this.tables = tables;
        this.firsts = firsts;
        this.labels = labels;
        this.connection = connection;
    }

    /// One file and how its columns are read.
    ///
    /// @param columns SQL expressions by field
    private record Table(Path file, String from, Map<String, String> columns) {}

    static ParquetPairs open(Path root, List<Path> files) throws IOException {
        Connection connection = null;
        try {
            connection = DriverManager.getConnection("jdbc:duckdb:");
            try (Statement statement = connection.createStatement()) {
                // Nothing is downloaded at run time; DuckDB would fetch extensions.
                statement.execute("SET autoinstall_known_extensions = false");
                statement.execute("SET autoload_known_extensions = false");
            }
            List<Table> tables = new ArrayList<>();
            int[] firsts = new int[files.size() + 1];
            PairLabels.Builder labels = new PairLabels.Builder();
            for (Path file : files) {
                tables.add(table(connection, file));
                readLabels(connection, tables.get(tables.size() - 1), labels);
                firsts[tables.size()] = labels.size();
            }
            return new ParquetPairs(root, tables, firsts, labels.build(), connection);
        } catch (SQLException e) {
            close(connection);
            throw new IOException(files.get(0).getParent() + ": " + firstLine(e), e);
        } catch (IOException | RuntimeException e) {
            close(connection);
            throw e;
        }
    }

    private static void close(Connection connection) throws IOException {
        try {
            if (connection != null) {
                connection.close();
            }
        } catch (SQLException e) {
            throw new IOException("parquet: " + firstLine(e), e);
        }
    }

    private static String firstLine(SQLException e) {
        return String.valueOf(e.getMessage()).lines().findFirst().orElse("unknown error");
    }

    private static Table table(Connection connection, Path file) throws SQLException, IOException {
        String name = file.toAbsolutePath().toString();
        if (name.matches(".*[*?\\[].*")) {
            throw new IOException(file + ": expected a path without *, ? and [, which DuckDB takes for patterns");
        }
        String from = "read_parquet('" + name.replace("'", "''") + "', file_row_number = true)";
        Map<String, String> types = new LinkedHashMap<>();
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("DESCRIBE SELECT * FROM " + from)) {
            while (rows.next()) {
                types.put(rows.getString(1), rows.getString(2));
            }
        } catch (SQLException e) {
            throw new IOException(
                    file + ": expected a Parquet file, found one that cannot be read: " + firstLine(e), e);
        }
        Map<String, String> columns = new LinkedHashMap<>();
        for (String image : new String[] {"jpg_0", "jpg_1"}) {
            columns.put(image, imageColumn(file, image, types));
        }
        if (!types.containsKey("caption")) {
            throw missing(file, "caption", types);
        }
        for (String field : PairFields.NAMES) {
            put(columns, types, field);
        }
        for (String field : PairFields.LABELS) {
            put(columns, types, field);
        }
        return new Table(file, from, columns);
    }

    private static void put(Map<String, String> columns, Map<String, String> types, String field) {
        if (types.containsKey(field)) {
            // An UUID or a decimal reads as text or as a number does.
            String type = types.get(field);
            String column = '"' + field + '"';
            columns.put(
                    field,
                    type.equals("UUID")
                            ? column + "::VARCHAR"
                            : type.startsWith("DECIMAL") || type.equals("HUGEINT") || type.equals("UBIGINT")
                                    ? column + "::DOUBLE"
                                    : column);
        }
    }

    private static String imageColumn(Path file, String image, Map<String, String> types) throws IOException {
        for (String name : new String[] {image, image.replace("jpg", "image")}) {
            String type = types.get(name);
            if (type != null && type.equals("BLOB")) {
                return '"' + name + '"';
            }
            if (type != null && type.startsWith("STRUCT") && type.contains("bytes")) {
                return "struct_extract(\"" + name + "\", 'bytes')";
            }
            if (type != null) {
                throw new IOException(
                        file + ": column " + name + ": expected bytes, or a struct of bytes and path, found " + type);
            }
        }
        throw missing(file, image, types);
    }

    private static IOException missing(Path file, String column, Map<String, String> types) {
        String found = types.keySet().stream()
                .filter(name -> !name.equals("file_row_number"))
                .collect(Collectors.joining(", "));
        return new IOException(file + ": expected a column " + column + ", found " + found);
    }

    private static void readLabels(Connection connection, Table table, PairLabels.Builder labels)
            throws SQLException, IOException {
        List<String> fields =
                PairFields.LABELS.stream().filter(table.columns::containsKey).toList();
        int first = labels.size();
        String selected =
                fields.stream().map(field -> table.columns.get(field) + ", ").collect(Collectors.joining());
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(
                        "SELECT " + selected + "file_row_number FROM " + table.from + " ORDER BY file_row_number")) {
            while (rows.next()) {
                long row = rows.getLong(fields.size() + 1);
                if (row != labels.size() - first) {
                    throw new IOException(table.file + ": expected row " + (labels.size() - first) + ", found " + row);
                }
                labels.add(new PairFields(table.file + ": row " + row, values(rows, fields)));
            }
        }
    }

    private static Map<String, Object> values(ResultSet rows, List<String> fields) throws SQLException {
        Map<String, Object> values = new HashMap<>();
        for (int i = 0; i < fields.size(); i++) {
            Object value = rows.getObject(i + 1);
            values.put(
                    fields.get(i),
                    switch (value) {
                        case Float number -> number.doubleValue();
                        case Byte number -> number.longValue();
                        case Short number -> number.longValue();
                        case Integer number -> number.longValue();
                        case null, default -> value;
                    });
        }
        return values;
    }

    @Override
    public int size() {
        return labels.size();
    }

    @Override
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        Map<Integer, Map<Integer, PairRecord>> read = new TreeMap<>();
        for (int index : indices) {
            Objects.checkIndex(index, size());
            read.computeIfAbsent(tableOf(index), none -> new TreeMap<>()).put(index, null);
        }
        lock.lock();
        try {
            for (Map.Entry<Integer, Map<Integer, PairRecord>> entry : read.entrySet()) {
                read(entry.getKey(), entry.getValue());
            }
        } finally {
            lock.unlock();
        }
        List<PairRecord> records = new ArrayList<>(indices.size());
        for (int index : indices) {
            PairRecord record = read.get(tableOf(index)).get(index);
            if (record == null) {
                throw new IOException(tables.get(tableOf(index)).file + ": expected row "
                        + (index - firsts[tableOf(index)]) + ", found none: the file was changed");
            }
            records.add(record);
        }
        return records;
    }

    private int tableOf(int index) {
        int found = Arrays.binarySearch(firsts, index);
        // Among empty files that begin at the same place, the last one holds it.
        int table = found >= 0 ? found : -found - 2;
        while (firsts[table + 1] <= index) {
            table++;
        }
        return table;
    }

    private void read(int tableNumber, Map<Integer, PairRecord> records) throws IOException {
        Table table = tables.get(tableNumber);
        int first = firsts[tableNumber];
        List<String> fields = table.columns.keySet().stream()
                .filter(field -> !field.startsWith("jpg_"))
                .toList();
        String wanted = records.keySet().stream()
                .map(index -> Integer.toString(index - first))
                .collect(Collectors.joining(", "));
        String selected =
                fields.stream().map(field -> table.columns.get(field) + ", ").collect(Collectors.joining());
        String query = "SELECT " + selected + table.columns.get("jpg_0") + ", " + table.columns.get("jpg_1")
                + ", file_row_number FROM " + table.from + " WHERE file_row_number IN (" + wanted + ")";
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(query)) {
            while (rows.next()) {
                int row = (int) rows.getLong(fields.size() + 3);
                records.put(first + row, record(table, first + row, row, fields, rows));
            }
        } catch (SQLException e) {
            throw new IOException(table.file + ": expected readable rows, found ones that are not: " + firstLine(e), e);
        }
    }

    private static PairRecord record(Table table, int index, int row, List<String> names, ResultSet rows)
            throws SQLException {
        String where = table.file.getFileName() + ": row " + row;
        PairFields fields = new PairFields(where, values(rows, names));
        String id = fields.id(where);
        try {
            Optional<PairScores> scores = fields.scores();
            return new PreferencePair(
                    index,
                    id,
                    fields.caption(),
                    image(where + ": jpg_0", rows.getBlob(names.size() + 1)),
                    image(where + ": jpg_1", rows.getBlob(names.size() + 2)),
                    fields.people(),
                    scores);
        } catch (BadPairException e) {
            return e.of(index, id);
        }
    }

    private static EncodedImage image(String where, Blob blob) throws SQLException, BadPairException {
        if (blob == null) {
            throw new BadPairException(Problem.MISSING_FIELD, where + ": expected an image, found nothing");
        }
        if (blob.length() > FolderPairs.MAX_IMAGE_BYTES) {
            throw new BadPairException(
                    Problem.IMAGE_TOO_LARGE,
                    where + ": expected at most " + FolderPairs.MAX_IMAGE_BYTES + " bytes, found " + blob.length());
        }
        return EncodedImage.of(where, blob.length() == 0 ? new byte[0] : blob.getBytes(1, (int) blob.length()));
    }

    @Override
    public String fingerprint() throws IOException {
        Fingerprint fingerprint = new Fingerprint(root);
        for (Table table : tables) {
            fingerprint.addEdges(table.file);
        }
        for (int i = 0; i < size(); i++) {
            fingerprint.add(labels.people(i) + " " + labels.scores(i), 0);
        }
        return fingerprint.hex();
    }

    @Override
    public String describe() {
        return size() + " pairs of " + tables.size() + " Parquet file" + (tables.size() == 1 ? "" : "s") + ": "
                + tables.get(0).file + (tables.size() == 1 ? "" : ", ...");
    }

    @Override
    public void close() throws IOException {
        lock.lock();
        try {
            close(connection);
        } finally {
            lock.unlock();
        }
    }
}
