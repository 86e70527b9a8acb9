package org.smpo.io;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/// A view of bytes in memory or in mapped files, in one piece or several. Nothing is copied before it is
/// read. A view of
/// a file is invalid once the file is closed. Any thread may read.
public final class ByteView {
    private final List<MemorySegment> pieces;
    private final long size;

    private ByteView(List<MemorySegment> pieces) {
        this.pieces = List.copyOf(pieces);
        this.size = pieces.stream().mapToLong(MemorySegment::byteSize).sum();
    }

    /// A view of an array, which must not change.
    public static ByteView of(byte[] bytes) {
        return new ByteView(List.of(MemorySegment.ofArray(bytes).asReadOnly()));
    }

    /// A view of a tensor's bytes in an open file.
    ///
    /// @throws IOException when the bytes are damaged and the file's format has checksums
    public static ByteView of(TensorFile file, TensorEntry entry) throws IOException {
        return new ByteView(List.of(file.segment(entry)));
    }

    /// A view of several views, one after the other.
    public static ByteView joined(List<ByteView> views) {
        List<MemorySegment> all = new ArrayList<>();
        views.forEach(view -> all.addAll(view.pieces));
        return new ByteView(all);
    }

    /// Number of bytes.
    public long size() {
        return size;
    }

    /// Returns `length` bytes from position `from`.
    ///
    /// @throws IndexOutOfBoundsException when there are fewer than `from + length`
    public ByteView slice(long from, long length) {
        java.util.Objects.checkFromIndexSize(from, length, size);
        List<MemorySegment> part = new ArrayList<>();
        long start = 0;
        for (MemorySegment piece : pieces) {
            long first = Math.max(from, start);
            long end = Math.min(from + length, start + piece.byteSize());
            if (first < end) {
                part.add(piece.asSlice(first - start, end - first));
            }
            start += piece.byteSize();
        }
        return new ByteView(part);
    }

    /// Copies `length` bytes from position `from` into an array.
    ///
    /// @throws IndexOutOfBoundsException when either side has fewer
    public void copyTo(long from, byte[] to, int at, int length) {
        java.util.Objects.checkFromIndexSize(from, length, size);
        long start = 0;
        for (MemorySegment piece : pieces) {
            long first = Math.max(from, start);
            long end = Math.min(from + length, start + piece.byteSize());
            if (first < end) {
                MemorySegment.copy(piece, first - start, MemorySegment.ofArray(to), at + (first - from), end - first);
            }
            start += piece.byteSize();
        }
    }

    /// All bytes as one little-endian buffer: a view if they are in one piece, otherwise a copy.
    ///
    /// @throws IllegalStateException when there are more bytes than a buffer can hold (2³¹ − 1)
    public ByteBuffer buffer() {
        if (size > Integer.MAX_VALUE) {
            throw new IllegalStateException("expected at most " + Integer.MAX_VALUE + " bytes, got " + size);
        }
        if (pieces.size() == 1) {
            return pieces.get(0).asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
        }
        byte[] copy = new byte[(int) size];
        copyTo(0, copy, 0, copy.length);
        return ByteBuffer.wrap(copy).order(ByteOrder.LITTLE_ENDIAN);
    }
}
