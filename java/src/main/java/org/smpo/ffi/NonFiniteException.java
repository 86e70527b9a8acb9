package org.smpo.ffi;

import java.io.Serial;

/// A value that must be finite is not.
public final class NonFiniteException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    NonFiniteException(String message, long detail) {
        super(Status.NON_FINITE, message, detail);
    }
}
