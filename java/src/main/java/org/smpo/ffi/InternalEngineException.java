package org.smpo.ffi;

import java.io.Serial;

/// Thrown for a bug in the engine; please report the message.
public final class InternalEngineException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    InternalEngineException(String message, long detail) {
        super(Status.INTERNAL, message, detail);
    }
}
