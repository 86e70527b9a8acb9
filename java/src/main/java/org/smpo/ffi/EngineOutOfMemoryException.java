package org.smpo.ffi;

import java.io.Serial;

/// Host or device memory ran out. The engine stays usable: close tensors or call [Engine#trim()], and try again.
///
/// Not `OutOfMemoryError`: the Java heap is fine, and the caller can recover.
public final class EngineOutOfMemoryException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    EngineOutOfMemoryException(String message, long detail) {
        super(Status.OUT_OF_MEMORY, message, detail);
    }
}
