package org.smpo.ffi;

import java.io.Serial;

/// An earlier [DeviceFaultException] made the engine unusable; the message is the first fault's. Only closing is
/// left to do.
public final class PoisonedSessionException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    PoisonedSessionException(String message, long detail) {
        super(Status.SESSION_POISONED, message, detail);
    }
}
