package org.smpo.ffi;

import java.io.Serial;

/// The element type differs from what the operation needs. Nothing was done.
public final class DTypeMismatchException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    DTypeMismatchException(String message, long detail) {
        super(Status.DTYPE_MISMATCH, message, detail);
    }
}
