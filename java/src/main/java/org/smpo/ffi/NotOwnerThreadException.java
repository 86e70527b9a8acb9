package org.smpo.ffi;

import java.io.Serial;

/// Thrown for a call from a thread that does not own the engine. Nothing was done; the owner can
/// continue.
///
/// It replaces `java.lang.WrongThreadException` so that one `catch (EngineException e)` covers the
/// border.
public final class NotOwnerThreadException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    NotOwnerThreadException(String message, long detail) {
        super(Status.WRONG_THREAD, message, detail);
    }
}
