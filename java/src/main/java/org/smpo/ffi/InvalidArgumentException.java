package org.smpo.ffi;

import java.io.Serial;

/// Thrown for a value outside its documented range, such as a negative size, a rank above 8 or an
/// unknown option. Nothing was done.
public final class InvalidArgumentException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    InvalidArgumentException(String message, long detail) {
        super(Status.INVALID_ARGUMENT, message, detail);
    }
}
