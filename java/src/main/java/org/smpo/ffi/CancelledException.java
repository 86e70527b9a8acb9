package org.smpo.ffi;

import java.io.Serial;

/// Thrown when [Engine#cancel()] stopped the operation. Its outputs must not be used; the engine stays
/// usable.
public final class CancelledException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    CancelledException(String message, long detail) {
        super(Status.CANCELLED, message, detail);
    }
}
