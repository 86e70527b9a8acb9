package org.smpo.ffi;

import java.io.Serial;

/// Thrown when an earlier [DeviceFaultException] has made the engine unusable; the message is that of
/// the first fault. The engine can only be closed.
public final class PoisonedSessionException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    PoisonedSessionException(String message, long detail) {
        super(Status.SESSION_POISONED, message, detail);
    }
}
