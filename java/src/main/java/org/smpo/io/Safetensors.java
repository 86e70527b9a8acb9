package org.smpo.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A safetensors file, mapped read-only into memory. Opening reads and checks the header; a tensor's
/// bytes are read when its segment is accessed. Files and tensors may exceed 2 GiB.
///
/// The file must not be truncated while it is open: accessing a missing page raises an [InternalError].
/// Any thread may read; after [#close] every segment is invalid and throws [IllegalStateException].
public final class Safetensors implements TensorFile {
    /// The format's limit on the header's length.
    public static final int MAX_HEADER_BYTES = 100_000_000;

    private final Path path;
    private final Arena arena;
    private final MemorySegment file;
    private final SafetensorsHeader.Parsed header;

    private Safetensors(Path path, Arena arena, MemorySegment file, SafetensorsHeader.Parsed header) {
        this.path = path;
        this.arena = arena;
        this.file = file;
        this.header = header;
    }

    /// Opens and checks a file.
    ///
    /// @throws SafetensorsException when the file is not valid, naming the place and the reason
    /// @throws IOException when it cannot be read
    @SuppressWarnings("MustBeClosedChecker")
    public static Safetensors open(Path path) throws IOException {
        try {
            return openChecked(path);
        } catch (SafetensorsException e) {
            Optional<String> content = FileContent.describe(path);
            if (content.isPresent()) {
                throw new SafetensorsException(path, "content", "a safetensors file", content.get());
            }
            throw e;
        }
    }

    @SuppressWarnings("MustBeClosedChecker")
    private static Safetensors openChecked(Path path) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            long size = channel.size();
            SafetensorsHeader.Parsed header = SafetensorsHeader.parse(path, headerBytes(path, channel, size), size);
            Arena arena = Arena.ofShared();
            try {
                MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
                return new Safetensors(path, arena, file, header);
            } catch (IOException | RuntimeException e) {
                arena.close();
                if (channel.size() < size) {
                    // Mapping a file while it is cut fails with a message about writing.
                    throw shortened(path, size, channel);
                }
                throw e;
            }
        }
    }

    private static byte[] headerBytes(Path path, FileChannel channel, long size) throws IOException {
        if (size < 8) {
            throw new SafetensorsException(path, "header", "8 bytes of length", "a file of " + size + " bytes");
        }
        long length = read(path, channel, 0, 8).order(ByteOrder.LITTLE_ENDIAN).getLong();
        if (length < 0 || length > MAX_HEADER_BYTES) {
            throw new SafetensorsException(
                    path,
                    "header length",
                    "at most " + MAX_HEADER_BYTES,
                    Long.toUnsignedString(length) + "; is this a safetensors file?");
        }
        if (length > size - 8) {
            throw new SafetensorsException(
                    path, "header length", "at most the file's " + (size - 8) + " bytes", Long.toString(length));
        }
        return read(path, channel, 8, (int) length).array();
    }

    private static ByteBuffer read(Path path, FileChannel channel, long position, int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer, position + buffer.position()) < 0) {
                throw shortened(path, position + length, channel);
            }
        }
        return buffer.flip();
    }

    private static SafetensorsException shortened(Path path, long expected, FileChannel channel) throws IOException {
        return new SafetensorsException(
                path, "size", expected + " bytes, as when it was opened", channel.size() + ": it was cut meanwhile");
    }

    @Override
    public Path path() {
        return path;
    }

    /// All tensors in the order of their data.
    @Override
    public List<TensorEntry> entries() {
        return header.entries();
    }

    @Override
    public Optional<TensorEntry> find(String name) {
        return Optional.ofNullable(header.byName().get(name));
    }

    /// The tensor with a name.
    ///
    /// @throws SafetensorsException when there is none
    @Override
    public TensorEntry entry(String name) throws SafetensorsException {
        TensorEntry entry = header.byName().get(name);
        if (entry == null) {
            throw new SafetensorsException(
                    path,
                    name,
                    "a tensor of that name",
                    "none among " + header.entries().size());
        }
        return entry;
    }

    /// The tensor's bytes: read-only, little-endian, row-major, valid until [#close]. They need not be
    /// aligned to the element, so read them with the `_UNALIGNED` layouts.
    ///
    /// @throws SafetensorsException when there is no tensor of that name
    public MemorySegment segment(String name) throws SafetensorsException {
        return segment(entry(name));
    }

    /// The bytes of one of [#entries].
    @Override
    public MemorySegment segment(TensorEntry entry) {
        return file.asSlice(entry.offset(), entry.length());
    }

    /// The file's `__metadata__`, in its order; empty when there is none.
    @Override
    public Map<String, String> metadata() {
        return Collections.unmodifiableMap(header.metadata());
    }

    /// SHA-256 of one tensor's bytes, in hexadecimal.
    ///
    /// @throws SafetensorsException when there is no tensor of that name
    public String sha256(String name) throws SafetensorsException {
        return Digest.sha256(segment(name));
    }

    /// SHA-256 of the whole file, in hexadecimal.
    public String sha256() {
        return Digest.sha256(file);
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
