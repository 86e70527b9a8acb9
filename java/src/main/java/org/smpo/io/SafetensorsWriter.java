package org.smpo.io;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/// Writes a safetensors file as a stream: the tensors are declared first, then their bytes follow in the
/// file's order.
///
/// The bytes equal those of the reference implementation: tensors are ordered by descending dtype (in the
/// order of [DType]) and by name in UTF-8, and the header is padded with spaces to a multiple of 8. Metadata
/// keys, which the reference implementation writes in random order, are sorted, so that equal content gives
/// equal bytes. The file appears under its name with [#commit].
public final class SafetensorsWriter implements AutoCloseable {
    /// A tensor to be written.
    ///
    /// @param name any text but `__metadata__`
    /// @param dtype element type
    /// @param shape dimensions ≥ 0, outermost first; empty for a scalar
    public record Declaration(String name, DType dtype, List<Long> shape) {
        public Declaration {
            shape = List.copyOf(shape);
        }
    }

    /// Source of the tensors' bytes.
    @FunctionalInterface
    public interface TensorData {
        /// Writes all bytes of one tensor with [SafetensorsWriter#write].
        void write(TensorEntry tensor, SafetensorsWriter out) throws IOException;
    }

    private static final int SEGMENT_CHUNK = 1 << 28;

    private final AtomicFiles.Pending file;
    private final Path path;
    private final List<TensorEntry> entries;
    private int current;
    private long writtenOfCurrent;

    private SafetensorsWriter(Path path, AtomicFiles.Pending file, List<TensorEntry> entries) {
        this.path = path;
        this.file = file;
        this.entries = entries;
        skipComplete();
    }

    /// Starts a file and writes its header.
    ///
    /// @param metadata metadata of the file, may be empty
    /// @throws IllegalArgumentException when a name occurs twice, is `__metadata__` or is not valid text, a
    ///     dimension is negative, or a size overflows or is not a whole number of bytes
    /// @throws IOException when the file cannot be written
    public static SafetensorsWriter create(
            Path path, Collection<Declaration> declarations, Map<String, String> metadata) throws IOException {
        return create(path, declarations, metadata, AtomicFiles.CREATE);
    }

    static SafetensorsWriter create(
            Path path, Collection<Declaration> declarations, Map<String, String> metadata, AtomicFiles.Opener opener)
            throws IOException {
        List<TensorEntry> relative = layout(path, declarations);
        byte[] header = header(path, relative, metadata);
        List<TensorEntry> entries = new ArrayList<>(relative.size());
        for (TensorEntry e : relative) {
            entries.add(new TensorEntry(e.name(), e.dtype(), e.shape(), header.length + e.offset(), e.length()));
        }
        AtomicFiles.Pending file = AtomicFiles.begin(path, opener);
        try {
            file.write(ByteBuffer.wrap(header));
            return new SafetensorsWriter(path, file, Collections.unmodifiableList(entries));
        } catch (IOException | RuntimeException e) {
            file.close();
            throw e;
        }
    }

    /// Writes a whole file: `data` is asked for each tensor in the file's order.
    ///
    /// @throws IllegalStateException when `data` writes too few or too many bytes for a tensor
    /// @throws IOException when the file cannot be written; an old one is then untouched
    public static void write(
            Path path, Collection<Declaration> declarations, Map<String, String> metadata, TensorData data)
            throws IOException {
        try (SafetensorsWriter writer = create(path, declarations, metadata)) {
            for (TensorEntry entry : writer.entries()) {
                if (entry.length() > 0) {
                    data.write(entry, writer);
                    writer.requireComplete(entry);
                }
            }
            writer.commit();
        }
    }

    /// The tensors in the order in which their bytes are to be written.
    public List<TensorEntry> entries() {
        return entries;
    }

    /// Appends bytes of the next tensor in order, all of them or a piece. Tensors without bytes are skipped.
    ///
    /// @param bytes little-endian, row-major; consumed
    /// @throws IllegalStateException when another tensor is next, or it has fewer bytes left
    public void write(String name, ByteBuffer bytes) throws IOException {
        int count = bytes.remaining();
        require(name, count);
        file.write(bytes);
        writtenOfCurrent += count;
        skipComplete();
    }

    /// Appends values to the next tensor in the file, which is F32.
    ///
    /// @throws IllegalStateException when another tensor is next, or the values do not fit it
    public void write(String name, float[] values) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(Float.BYTES, values.length))
                .order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        write(name, bytes);
    }

    /// Appends bytes of a tensor, as [#write(String, ByteBuffer)] does.
    public void write(String name, MemorySegment bytes) throws IOException {
        require(name, bytes.byteSize());
        for (long from = 0; from < bytes.byteSize(); from += SEGMENT_CHUNK) {
            long length = Math.min(SEGMENT_CHUNK, bytes.byteSize() - from);
            write(name, bytes.asSlice(from, length).asByteBuffer());
        }
    }

    /// Makes the file durable under its name.
    ///
    /// @throws IllegalStateException when a tensor's bytes are missing
    /// @throws IOException when the file cannot be written; an old one is then untouched
    public void commit() throws IOException {
        if (current < entries.size()) {
            throw incomplete(entries.get(current));
        }
        file.commit();
    }

    /// Discards the file unless [#commit] was called; an old file is then untouched.
    @Override
    public void close() throws IOException {
        file.close();
    }

    private void require(String name, long count) {
        if (current == entries.size()) {
            throw new IllegalStateException(path + ": " + name + ": all tensors are already written");
        }
        TensorEntry entry = entries.get(current);
        if (!entry.name().equals(name)) {
            throw new IllegalStateException(path + ": expected bytes of " + entry.name() + " next, got " + name);
        }
        if (count > entry.length() - writtenOfCurrent) {
            throw new IllegalStateException(path + ": " + name + ": expected at most "
                    + (entry.length() - writtenOfCurrent) + " more bytes, got " + count);
        }
    }

    private void requireComplete(TensorEntry entry) {
        if (current < entries.size() && entries.get(current).equals(entry)) {
            throw incomplete(entry);
        }
    }

    private IllegalStateException incomplete(TensorEntry entry) {
        return new IllegalStateException(path + ": " + entry.name() + ": expected " + entry.length() + " bytes, got "
                + (entries.get(current).equals(entry) ? writtenOfCurrent : 0));
    }

    private void skipComplete() {
        while (current < entries.size()
                && writtenOfCurrent == entries.get(current).length()) {
            current++;
            writtenOfCurrent = 0;
        }
    }

    /// Entries in the file's order, with offsets from the start of the data.
    private static List<TensorEntry> layout(Path path, Collection<Declaration> declarations) {
        List<Declaration> sorted = new ArrayList<>(declarations);
        sorted.sort(Comparator.comparing(Declaration::dtype)
                .reversed()
                .thenComparing(declaration -> utf8(path, declaration.name()), Arrays::compareUnsigned));
        Set<String> names = new HashSet<>();
        List<TensorEntry> entries = new ArrayList<>(sorted.size());
        long offset = 0;
        for (Declaration declaration : sorted) {
            String name = declaration.name();
            if (name.equals("__metadata__") || !names.add(name)) {
                throw new IllegalArgumentException(
                        path + ": " + name + ": expected names that occur once and are not __metadata__");
            }
            long length;
            try {
                long elements = 1;
                for (long dimension : declaration.shape()) {
                    if (dimension < 0) {
                        throw new IllegalArgumentException(
                                path + ": " + name + ": expected dimensions >= 0, got " + declaration.shape());
                    }
                    elements = Math.multiplyExact(elements, dimension);
                }
                length = declaration.dtype().bytes(elements);
                entries.add(new TensorEntry(name, declaration.dtype(), declaration.shape(), offset, length));
                offset = Math.addExact(offset, length);
            } catch (ArithmeticException e) {
                throw new IllegalArgumentException(
                        path + ": " + name + ": " + declaration.dtype() + " " + declaration.shape() + ": "
                                + e.getMessage(),
                        e);
            }
        }
        return entries;
    }

    private static byte[] utf8(Path path, String text) {
        try {
            ByteBuffer bytes = StandardCharsets.UTF_8
                    .newEncoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .encode(java.nio.CharBuffer.wrap(text));
            byte[] array = new byte[bytes.remaining()];
            bytes.get(array);
            return array;
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException(path + ": \"" + text + "\" holds half of a surrogate pair", e);
        }
    }

    /// Length, JSON and padding.
    private static byte[] header(Path path, List<TensorEntry> entries, Map<String, String> metadata) {
        StringBuilder json = new StringBuilder(64 + 128 * entries.size()).append('{');
        if (!metadata.isEmpty()) {
            json.append("\"__metadata__\":{");
            new TreeMap<>(metadata).forEach((key, value) -> {
                quote(json, key);
                json.append(':');
                quote(json, value);
                json.append(',');
            });
            json.setCharAt(json.length() - 1, '}');
            json.append(',');
        }
        for (TensorEntry entry : entries) {
            quote(json, entry.name());
            json.append(":{\"dtype\":\"").append(entry.dtype()).append("\",\"shape\":[");
            for (int i = 0; i < entry.shape().size(); i++) {
                json.append(i == 0 ? "" : ",").append(entry.shape().get(i).longValue());
            }
            json.append("],\"data_offsets\":[").append(entry.offset());
            json.append(',').append(entry.offset() + entry.length()).append("]},");
        }
        if (json.length() > 1) {
            json.setCharAt(json.length() - 1, '}');
        } else {
            json.append('}');
        }
        byte[] bytes = utf8(path, json.toString());
        int padded = (bytes.length + 7) / 8 * 8;
        if (padded > Safetensors.MAX_HEADER_BYTES) {
            throw new IllegalArgumentException(
                    path + ": header: expected at most " + Safetensors.MAX_HEADER_BYTES + " bytes, got " + padded);
        }
        byte[] header = new byte[8 + padded];
        Arrays.fill(header, (byte) ' ');
        ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(bytes);
        return header;
    }

    /// Writes JSON text as the reference implementation does: short escapes where they exist, six-character
    /// escapes for other
    /// control characters, everything else unchanged.
    private static void quote(StringBuilder json, String text) {
        json.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> json.append("\\\"");
                case '\\' -> json.append("\\\\");
                case '\b' -> json.append("\\b");
                case '\f' -> json.append("\\f");
                case '\n' -> json.append("\\n");
                case '\r' -> json.append("\\r");
                case '\t' -> json.append("\\t");
                default -> {
                    if (c < ' ') {
                        json.append(String.format("\\u%04x", (int) c));
                    } else {
                        json.append(c);
                    }
                }
            }
        }
        json.append('"');
    }
}
