package org.smpo.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// Off-heap memory that an engine reuses to carry Java arrays across the border, since no call takes
/// memory that the garbage collector could move.
///
/// It grows in powers of two. Memory larger than [#KEPT] is freed as soon as the call is over. It is
/// confined to the engine's owner thread, like everything that belongs to the engine.
final class Staging implements AutoCloseable {
    /// Most bytes kept for the next call. Above this size the cost of an allocation is negligible beside
    /// the copy.
    static final long KEPT = 16L << 20;

    private static final long SMALLEST = 4096;
    private static final long ALIGNMENT = 64;

    private Arena arena;
    private MemorySegment memory = MemorySegment.NULL;

    /// Returns memory of exactly this many bytes, not zeroed, valid until the next call of this method
    /// or of [#settle()].
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

    /// Frees memory that is too large to keep. Called after each call of the library.
    void settle() {
        if (memory.byteSize() > KEPT) {
            close();
        }
    }

    /// Frees all memory. The next [#take(long)] allocates anew.
    @Override
    public void close() {
        if (arena != null) {
            arena.close();
            arena = null;
            memory = MemorySegment.NULL;
        }
    }
}
