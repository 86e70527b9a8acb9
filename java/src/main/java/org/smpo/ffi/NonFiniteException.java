package org.smpo.ffi;

import java.io.Serial;

/// Thrown when a value that must be finite is NaN or infinite.
public final class NonFiniteException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    NonFiniteException(String message, long detail) {
        super(Status.NON_FINITE, message, detail);
    }
}
