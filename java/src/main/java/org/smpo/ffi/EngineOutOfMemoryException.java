package org.smpo.ffi;

import java.io.Serial;

/// Thrown when host or device memory ran out. The engine stays usable: close tensors or call
/// [Engine#trim()], then try again.
///
/// This is not an `OutOfMemoryError`: the Java heap is not exhausted, and the caller can recover.
public final class EngineOutOfMemoryException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    EngineOutOfMemoryException(String message, long detail) {
        super(Status.OUT_OF_MEMORY, message, detail);
    }
}
