package org.smpo.ffi;

import java.io.Serial;

/// Well-formed, but this build or this machine cannot do it; the message has the reason.
///
/// Not `UnsupportedOperationException`, which says that no such object ever can.
public final class NotSupportedException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    NotSupportedException(String message, long detail) {
        super(Status.UNSUPPORTED, message, detail);
    }
}
