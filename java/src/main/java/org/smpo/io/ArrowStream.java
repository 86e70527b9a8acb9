package org.smpo.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/// An Arrow file in the IPC stream format, or in the file format, which begins with a stream. Hugging Face's
/// `save_to_disk` writes such files. Values are read from the file one at a time; only the layout is kept in
/// memory.
///
/// Numbers, booleans, text and bytes can be read, also inside a struct; columns of other types are skipped.
/// Every length
/// and offset is checked against the buffer that contains it. Safe for use from any thread. Source:
/// Arrow Columnar Format 1.5, "Serialization and Interprocess Communication".
public final class ArrowStream implements AutoCloseable {
    private static final int CONTINUATION = -1;
    private static final int MAX_METADATA = 1 << 26;
    private static final int MAX_DEPTH = 32;

    private static final int SCHEMA = 1;
    private static final int DICTIONARY_BATCH = 2;
    private static final int RECORD_BATCH = 3;

    private final Path file;
    private final FileChannel channel;
    private final Map<String, Column> columns = new LinkedHashMap<>();
    private final List<Batch> batches = new ArrayList<>();
    private int bufferCount;
    private int nodeCount;

    /// Type of the values of a column.
    public enum Type {
        INTEGER,
        NUMBER,
        TRUTH,
        TEXT,
        BYTES,
        /// A struct of columns; see [Column#child].
        STRUCT,
        /// A type that cannot be read.
        OTHER
    }

    /// A column, possibly inside a struct.
    ///
    /// @param name name of the column
    /// @param type type of its values
    /// @param width number of bits of a number, or of the offsets of text and bytes
    /// @param signed whether integers are signed
    /// @param buffer index of its first buffer in a batch
    /// @param parents structs that contain it, outermost first
    /// @param children columns of a struct by name
    public record Column(
            String name,
            Type type,
            int width,
            boolean signed,
            int buffer,
            List<Column> parents,
            Map<String, Column> children) {
        /// A column inside a struct, or null.
        public Column child(String childName) {
            return children.get(childName);
        }
    }

    /// A record batch: consecutive rows.
    private static final class Batch {
        private final long firstRow;
        private final long rows;
        private final long[] offsets;
        private final long[] lengths;

        Batch(long firstRow, long rows, long[] offsets, long[] lengths) {
            this.firstRow = firstRow;
            this.rows = rows;
            this.offsets = offsets;
            this.lengths = lengths;
        }
    }

    private ArrowStream(Path file, FileChannel channel) {
        this.file = file;
        this.channel = channel;
    }

    /// Opens a file and reads its schema and the positions of its batches.
    ///
    /// @throws IOException when it is not an Arrow file, is truncated or has an unsupported format
    public static ArrowStream open(Path file) throws IOException {
        FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
        try {
            ArrowStream stream = new ArrowStream(file, channel);
            stream.index();
            return stream;
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw new IOException(
                    file + ": expected an Arrow stream, found one that cannot be read: " + e.getMessage(), e);
        }
    }

    private void index() throws IOException {
        long size = channel.size();
        long at = 0;
        if (size >= 8 && new String(bytes(0, 6), StandardCharsets.ISO_8859_1).equals("ARROW1")) {
            at = 8;
        }
        boolean schema = false;
        // A stream may end without its end marker.
        while (at < size) {
            int first = little(at, 4).getInt();
            boolean continued = first == CONTINUATION;
            int length = continued ? little(at + 4, 4).getInt() : first;
            long metadata = at + (continued ? 8 : 4);
            if (length == 0) {
                break;
            }
            if (length < 0 || length > MAX_METADATA) {
                throw new IOException("a message of " + length + " bytes at byte " + at);
            }
            FlatTable message = FlatTable.root(bytes(metadata, length));
            long body = metadata + length;
            long bodyLength = message.i64(3);
            if (bodyLength < 0 || bodyLength > size - body) {
                throw new IOException("it ends inside a message: expected " + bodyLength + " bytes at " + body
                        + ", the file has " + size);
            }
            FlatTable header = message.table(2);
            int kind = message.u8(1);
            if (header == null) {
                throw new IOException("a message without a header at byte " + at);
            }
            if (kind == SCHEMA && !schema) {
                schema(header);
                schema = true;
            } else if (kind == RECORD_BATCH && schema) {
                batch(header, body, bodyLength);
            } else if (kind != DICTIONARY_BATCH || !schema) {
                throw new IOException("a message of kind " + kind + " at byte " + at + " out of order");
            }
            at = body + bodyLength;
        }
        if (!schema) {
            throw new IOException("it has no schema");
        }
    }

    private void schema(FlatTable schema) throws IOException {
        if (schema.i16(0) != 0) {
            throw new IOException("it is big-endian, which is not supported");
        }
        int fields = schema.count(1, 4);
        for (int i = 0; i < fields; i++) {
            Column column = column(schema.table(1, i), List.of());
            if (columns.put(column.name, column) != null) {
                throw new IOException("two columns " + column.name);
            }
        }
    }

    /// Assigns buffers to a field and the fields inside it, in the format's order.
    private Column column(FlatTable field, List<Column> parents) throws IOException {
        if (parents.size() > MAX_DEPTH) {
            throw new IOException("more than " + MAX_DEPTH + " levels of columns");
        }
        String name = field.text(0);
        int kind = field.u8(2);
        FlatTable type = field.table(3);
        int buffer = bufferCount;
        nodeCount++;
        if (field.table(4) != null) {
            bufferCount += 2;
            return new Column(name, Type.OTHER, 0, false, buffer, parents, Map.of());
        }
        Layout layout = Layout.of(name, kind, type);
        bufferCount += layout.buffers;
        Map<String, Column> children = new LinkedHashMap<>();
        Column column = new Column(
                name, layout.type, layout.width, layout.signed, buffer, parents, Collections.unmodifiableMap(children));
        // Rows of a list's children are counted otherwise; nothing below one can be read.
        List<Column> below = new ArrayList<>(parents);
        below.add(column);
        int count = field.count(5, 4);
        for (int i = 0; i < count; i++) {
            Column child = column(field.table(5, i), List.copyOf(below));
            if (layout.type == Type.STRUCT) {
                children.put(child.name, child);
            }
        }
        return column;
    }

    /// Layout of one of the types of the format.
    private record Layout(Type type, int width, boolean signed, int buffers) {
        static Layout of(String name, int kind, FlatTable type) throws IOException {
            return switch (kind) {
                case 1 -> new Layout(Type.OTHER, 0, false, 0);
                case 2 -> integer(name, type);
                case 3 -> floating(type);
                case 4 -> new Layout(Type.BYTES, 32, false, 3);
                case 5 -> new Layout(Type.TEXT, 32, false, 3);
                case 6 -> new Layout(Type.TRUTH, 1, false, 2);
                // Decimal, date, time, timestamp, interval, fixed-size bytes, duration; list and map; large list.
                case 7, 8, 9, 10, 11, 15, 18, 12, 17, 21 -> new Layout(Type.OTHER, 0, false, 2);
                case 13 -> new Layout(Type.STRUCT, 0, false, 1);
                case 16 -> new Layout(Type.OTHER, 0, false, 1);
                case 19 -> new Layout(Type.BYTES, 64, false, 3);
                case 20 -> new Layout(Type.TEXT, 64, false, 3);
                default ->
                    throw new IOException("column " + name + ": type " + kind + " (a union, a view or a run-length "
                            + "encoding) is not supported");
            };
        }

        private static Layout integer(String name, FlatTable type) throws IOException {
            int width = type == null ? 0 : type.i32(0);
            if (width != 8 && width != 16 && width != 32 && width != 64) {
                throw new IOException("column " + name + ": integers of " + width + " bits");
            }
            return new Layout(Type.INTEGER, width, type.u8(1) != 0, 2);
        }

        private static Layout floating(FlatTable type) throws IOException {
            int precision = type == null ? 0 : type.i16(0);
            return switch (precision) {
                case 0 -> new Layout(Type.NUMBER, 16, true, 2);
                case 1 -> new Layout(Type.NUMBER, 32, true, 2);
                case 2 -> new Layout(Type.NUMBER, 64, true, 2);
                default -> throw new IOException("a floating-point number of precision " + precision);
            };
        }
    }

    private void batch(FlatTable batch, long body, long bodyLength) throws IOException {
        long rows = batch.i64(0);
        int buffers = batch.count(2, 16);
        if (rows < 0
                || rows > Integer.MAX_VALUE - rows()
                || buffers != bufferCount
                || batch.count(1, 16) != nodeCount) {
            throw new IOException(
                    "a batch of " + rows + " rows with " + buffers + " buffers, the schema has " + bufferCount);
        }
        if (batch.table(3) != null) {
            throw new IOException("its batches are compressed, which is not supported: write them without compression");
        }
        long[] offsets = new long[buffers];
        long[] lengths = new long[buffers];
        for (int i = 0; i < buffers; i++) {
            long offset = batch.word(2, i, 0);
            long length = batch.word(2, i, 1);
            if (offset < 0 || length < 0 || offset > bodyLength || length > bodyLength - offset) {
                throw new IOException("a buffer of " + length + " bytes at " + offset + " in a body of " + bodyLength);
            }
            offsets[i] = body + offset;
            lengths[i] = length;
        }
        batches.add(new Batch(rows(), rows, offsets, lengths));
    }

    /// Number of rows of all batches.
    public int rows() {
        if (batches.isEmpty()) {
            return 0;
        }
        Batch last = batches.get(batches.size() - 1);
        return (int) (last.firstRow + last.rows);
    }

    /// The columns by name, in the schema's order.
    public Map<String, Column> columns() {
        return Collections.unmodifiableMap(columns);
    }

    /// Returns a value as Long, Double, Boolean, String or byte[], or null.
    ///
    /// @throws CharacterCodingException when text is not UTF-8
    /// @throws IOException when the file cannot be read, its offsets contradict each other, or the type
    ///     cannot be read
    /// @throws IndexOutOfBoundsException when there is no such row
    public Object value(Column column, int row) throws IOException {
        Objects.checkIndex(row, rows());
        Batch batch = batch(row);
        long at = row - batch.firstRow;
        for (Column parent : column.parents) {
            if (parent.type != Type.STRUCT) {
                throw new IOException(file + ": column " + column.name + ": values inside a list cannot be read");
            }
            if (isNull(batch, parent, at)) {
                return null;
            }
        }
        if (isNull(batch, column, at)) {
            return null;
        }
        return switch (column.type) {
            case INTEGER -> integer(batch, column, at);
            case NUMBER -> number(batch, column, at);
            case TRUTH -> (little(batch, column.buffer + 1, at >> 3, 1).get() >> (at & 7) & 1) != 0;
            case TEXT ->
                StandardCharsets.UTF_8
                        .newDecoder()
                        .decode(ByteBuffer.wrap(variable(batch, column, at)))
                        .toString();
            case BYTES -> variable(batch, column, at);
            case STRUCT, OTHER -> throw new IOException(file + ": column " + column.name + ": its type cannot be read");
        };
    }

    private Batch batch(int row) {
        int low = 0;
        int high = batches.size() - 1;
        while (low < high) {
            int middle = (low + high + 1) >>> 1;
            if (batches.get(middle).firstRow <= row) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        return batches.get(low);
    }

    private boolean isNull(Batch batch, Column column, long at) throws IOException {
        // Without a validity buffer there are no nulls.
        return batch.lengths[column.buffer] > 0
                && (little(batch, column.buffer, at >> 3, 1).get() >> (at & 7) & 1) == 0;
    }

    private Long integer(Batch batch, Column column, long at) throws IOException {
        int bytes = column.width / 8;
        ByteBuffer value = little(batch, column.buffer + 1, at * bytes, bytes);
        long number = switch (bytes) {
            case 1 -> value.get();
            case 2 -> value.getShort();
            case 4 -> value.getInt();
            default -> value.getLong();
        };
        if (column.signed || (bytes == 8 && number >= 0)) {
            return number;
        }
        if (bytes == 8) {
            throw new IOException(file + ": column " + column.name + ": expected integers within 63 bits, found "
                    + Long.toUnsignedString(number));
        }
        return number & ((1L << column.width) - 1);
    }

    private Double number(Batch batch, Column column, long at) throws IOException {
        int bytes = column.width / 8;
        ByteBuffer value = little(batch, column.buffer + 1, at * bytes, bytes);
        return switch (bytes) {
            case 2 -> (double) Float.float16ToFloat(value.getShort());
            case 4 -> (double) value.getFloat();
            default -> value.getDouble();
        };
    }

    private byte[] variable(Batch batch, Column column, long at) throws IOException {
        int width = column.width / 8;
        ByteBuffer ends = little(batch, column.buffer + 1, at * width, 2L * width);
        long begin = width == 4 ? ends.getInt() : ends.getLong();
        long end = width == 4 ? ends.getInt() : ends.getLong();
        if (begin < 0 || end < begin || end - begin > Integer.MAX_VALUE - 8) {
            throw new IOException(file + ": column " + column.name + ": a value from " + begin + " to " + end);
        }
        return little(batch, column.buffer + 2, begin, end - begin).array();
    }

    /// A part of a buffer.
    private ByteBuffer little(Batch batch, int buffer, long from, long length) throws IOException {
        if (from < 0 || length > batch.lengths[buffer] - from) {
            throw new IOException(file + ": expected " + length + " bytes at " + from + " of a buffer, it has "
                    + batch.lengths[buffer]);
        }
        return little(batch.offsets[buffer] + from, (int) length);
    }

    private ByteBuffer little(long from, int length) throws IOException {
        return ByteBuffer.wrap(bytes(from, length)).order(ByteOrder.LITTLE_ENDIAN);
    }

    private byte[] bytes(long from, int length) throws IOException {
        if (length > channel.size() - from) {
            throw new IOException("it ends inside a message");
        }
        ByteBuffer buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer, from + buffer.position()) < 0) {
                throw new IOException(file + ": the file became shorter");
            }
        }
        return buffer.array();
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }

    @Override
    public String toString() {
        return file + ": " + rows() + " rows of "
                + Arrays.toString(columns.keySet().toArray());
    }
}
