package org.smpo.ffi;

import java.io.Serial;

/// Thrown when a dtype differs from the one that the operation needs. Nothing was done.
public final class DTypeMismatchException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    DTypeMismatchException(String message, long detail) {
        super(Status.DTYPE_MISMATCH, message, detail);
    }
}
