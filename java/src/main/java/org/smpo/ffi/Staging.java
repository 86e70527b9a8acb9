package org.smpo.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// Off-heap memory that an engine reuses to carry Java arrays across the border, since no call takes memory that
/// the garbage collector could move.
///
/// Grows in powers of two. What is larger than [#KEPT] is given back as soon as the call is over. Confined to the
/// engine's owner, like everything of it.
final class Staging implements AutoCloseable {
    /// Bytes that are kept for the next call; above it an allocation costs nothing next to the copy.
    static final long KEPT = 16L << 20;

    private static final long SMALLEST = 4096;
    private static final long ALIGNMENT = 64;

    private Arena arena;
    private MemorySegment memory = MemorySegment.NULL;

    /// Memory of exactly this many bytes, valid until the next call of this method or of [#settle()]. Not zeroed.
    MemorySegment take(long bytes) {
        if (arena == null || memory.byteSize() < bytes) {
            close();
            long size = bytes > KEPT ? bytes : Math.max(SMALLEST, Long.highestOneBit(Math.max(1, bytes - 1)) << 1);
            Arena grown = Arena.ofConfined();
            try {
                memory = grown.allocate(size, ALIGNMENT);
            } catch (OutOfMemoryError e) {
                grown.close();
                EngineOutOfMemoryException thrown = new EngineOutOfMemoryException(
                        "staging: cannot allocate " + size + " bytes off the Java heap (" + e.getMessage()
                                + "); pass a native memory segment, or raise -XX:MaxDirectMemorySize",
                        0);
                thrown.initCause(e);
                throw thrown;
            }
            arena = grown;
        }
        return memory.asSlice(0, bytes);
    }

    /// After a call: gives back what is too large to keep.
    void settle() {
        if (memory.byteSize() > KEPT) {
            close();
        }
    }

    /// Gives everything back. The next [#take(long)] starts anew.
    @Override
    public void close() {
        if (arena != null) {
            arena.close();
            arena = null;
            memory = MemorySegment.NULL;
        }
    }
}
