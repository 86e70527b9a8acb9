package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import org.smpo.io.ParquetReader;

/// Parquet files with the columns of Pick-a-Pic.
///
/// Labels are read at the beginning, a column at a time. Images are read by row number, with one query per
/// file and batch, which decompresses only the row groups that hold them. A batch of scattered rows costs
/// about as many row groups as it has rows; a file with one large row group is read whole for each batch and
/// is better rewritten.
final class ParquetRecords implements Records {
    private final Path root;
    private final List<Table> tables;
    private final FileRows rows;
    private final ParquetReader parquet;
    private final ReentrantLock lock = new ReentrantLock();

    private ParquetRecords(Path root, List<Table> tables, ParquetReader parquet) {
        this.root = root;
        this.tables = tables;
        this.rows = new FileRows(tables.stream().map(Table::rows).toList());
        this.parquet = parquet;
    }

    /// One file and how its columns are read.
    ///
    /// @param columns names of the fields
    /// @param fields SQL expressions of the fields
    /// @param images SQL expressions of image 0 and image 1
    private record Table(
            Path file, int rows, List<String> columns, List<String> fields, List<String> images, boolean chosenFirst) {
        PairFields pairFields(String where, List<Object> values) {
            Map<String, Object> byName = new HashMap<>();
            for (int i = 0; i < columns.size(); i++) {
                byName.put(columns.get(i), values.get(i));
            }
            return new PairFields(where, byName, chosenFirst);
        }
    }

    static ParquetRecords open(Path root, List<Path> files) throws IOException {
        return open(root, files, false);
    }

    /// @param single whether a row has one image, not two
    static ParquetRecords open(Path root, List<Path> files, boolean single) throws IOException {
        ParquetReader parquet = ParquetReader.open();
        try {
            List<Table> tables = new ArrayList<>();
            for (Path file : files) {
                tables.add(table(parquet, file, single));
            }
            return new ParquetRecords(root, tables, parquet);
        } catch (IOException | RuntimeException e) {
            parquet.close();
            throw e;
        }
    }

    private static Table table(ParquetReader parquet, Path file, boolean single) throws IOException {
        Map<String, String> types = parquet.columns(file);
        PairColumns columns = single ? PairColumns.single(file, types.keySet()) : PairColumns.of(file, types.keySet());
        List<String> fields = new ArrayList<>();
        for (String field : columns.fields()) {
            fields.add(expression(field, types.get(field)));
        }
        List<String> images = new ArrayList<>();
        for (String image : columns.images()) {
            images.add(imageExpression(file, image, types.get(image)));
        }
        return new Table(file, parquet.rows(file), columns.fields(), fields, images, columns.chosenFirst());
    }

    /// A UUID is read as text, and a number that has no Java type as a double.
    private static String expression(String field, String type) {
        String column = ParquetReader.column(field);
        if (type.equals("UUID")) {
            return column + "::VARCHAR";
        }
        boolean wide = type.startsWith("DECIMAL") || type.equals("HUGEINT") || type.equals("UBIGINT");
        return wide ? column + "::DOUBLE" : column;
    }

    private static String imageExpression(Path file, String image, String type) throws IOException {
        if (type.equals("BLOB")) {
            return ParquetReader.column(image);
        }
        if (type.startsWith("STRUCT") && type.contains("bytes")) {
            return "struct_extract(" + ParquetReader.column(image) + ", 'bytes')";
        }
        throw new IOException(
                file + ": column " + image + ": expected bytes, or a struct of bytes and path, found " + type);
    }

    @Override
    public int size() {
        return rows.size();
    }

    @Override
    public String name(int index) {
        return where(tables.get(rows.part(index)), rows.row(index));
    }

    private static String where(Table table, int row) {
        return table.file.getFileName() + ": row " + row;
    }

    @Override
    public void readLabels(LabelSink sink) throws IOException {
        for (Table table : tables) {
            List<String> expressions = new ArrayList<>();
            for (int i = 0; i < table.columns.size(); i++) {
                // NULL keeps the places of the columns that are not read.
                expressions.add(PairFields.LABELS.contains(table.columns.get(i)) ? table.fields.get(i) : "NULL");
            }
            int[] next = {0};
            parquet.read(table.file, expressions, (row, values) -> {
                if (row != next[0]) {
                    throw new IOException(table.file + ": expected row " + next[0] + ", found " + row);
                }
                next[0]++;
                sink.add(() -> table.pairFields(where(table, row), values));
            });
        }
    }

    @Override
    public List<Raw> read(List<Integer> indices) throws IOException {
        Map<Integer, List<Integer>> rowsByTable = new TreeMap<>();
        for (int index : indices) {
            rowsByTable
                    .computeIfAbsent(rows.part(index), none -> new ArrayList<>())
                    .add(rows.row(index));
        }
        Map<Integer, Raw> read = new HashMap<>();
        lock.lock();
        try {
            for (Map.Entry<Integer, List<Integer>> entry : rowsByTable.entrySet()) {
                read(tables.get(entry.getKey()), rows.start(entry.getKey()), entry.getValue(), read);
            }
        } finally {
            lock.unlock();
        }
        List<Raw> records = new ArrayList<>(indices.size());
        for (int index : indices) {
            Raw record = read.get(index);
            if (record == null) {
                throw new IOException(tables.get(rows.part(index)).file + ": expected row " + rows.row(index)
                        + ", found none: the file was changed");
            }
            records.add(record);
        }
        return records;
    }

    /// Reads rows of one file. The sizes of the images come first, so that an image that is too large is
    /// never read.
    private void read(Table table, int start, List<Integer> wanted, Map<Integer, Raw> read) throws IOException {
        List<String> sizes = table.images.stream()
                .map(image -> "octet_length(" + image + ")")
                .toList();
        List<Integer> small = new ArrayList<>();
        List<Integer> large = new ArrayList<>();
        parquet.read(table.file, sizes, wanted, (row, values) -> {
            boolean fits = values.stream()
                    .allMatch(size -> size == null || ((Number) size).longValue() <= RecordPairs.MAX_IMAGE_BYTES);
            (fits ? small : large).add(row);
        });
        read(table, start, table.images, small, read);
        read(table, start, sizes, large, read);
    }

    private void read(Table table, int start, List<String> images, List<Integer> wanted, Map<Integer, Raw> read)
            throws IOException {
        if (wanted.isEmpty()) {
            return;
        }
        List<String> expressions = new ArrayList<>(table.fields);
        expressions.addAll(images);
        parquet.read(
                table.file, expressions, wanted, (row, values) -> read.put(start + row, new Row(table, row, values)));
    }

    /// A row whose images are bytes, or sizes when one of them is too large.
    private record Row(Table table, int row, List<Object> values) implements Raw {
        @Override
        public PairFields fields() {
            return table.pairFields(where(table, row), values);
        }

        @Override
        public EncodedImage image(int which) throws BadPairException {
            String where = where(table, row) + (table.images.size() == 1 ? ": image" : ": jpg_" + which);
            return switch (values.get(table.columns.size() + which)) {
                case byte[] bytes -> EncodedImage.of(where, bytes);
                case Number size -> {
                    RecordPairs.requireSize(where, size.longValue());
                    throw new BadPairException(
                            Problem.IMAGE_TOO_LARGE, where + ": not read, since the other image is too large");
                }
                case null, default ->
                    throw new BadPairException(Problem.MISSING_FIELD, where + ": expected an image, found nothing");
            };
        }
    }

    @Override
    public String fingerprint(PairLabels labels) throws IOException {
        Fingerprint fingerprint = new Fingerprint(root);
        for (Table table : tables) {
            fingerprint.addEdges(table.file);
        }
        return fingerprint.addLabels(labels).hex();
    }

    @Override
    public String describe() {
        return FileRows.describe(tables.stream().map(Table::file).toList(), "Parquet file");
    }

    @Override
    public void close() throws IOException {
        lock.lock();
        try {
            parquet.close();
        } finally {
            lock.unlock();
        }
    }
}
