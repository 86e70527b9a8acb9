package org.smpo.ffi;

import java.io.Serial;

/// Thrown when the handle is closed, is of another kind or belongs to another engine. Nothing was done.
public final class InvalidHandleException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    InvalidHandleException(String message, long detail) {
        super(Status.INVALID_HANDLE, message, detail);
    }
}
