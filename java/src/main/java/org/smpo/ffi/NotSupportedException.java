package org.smpo.ffi;

import java.io.Serial;

/// Thrown for a valid request that this build or this machine cannot fulfil; the message gives the
/// reason.
///
/// It replaces `UnsupportedOperationException`, which means that no such object ever can.
public final class NotSupportedException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    NotSupportedException(String message, long detail) {
        super(Status.UNSUPPORTED, message, detail);
    }
}
