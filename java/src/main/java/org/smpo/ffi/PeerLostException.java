package org.smpo.ffi;

import java.io.Serial;

/// Thrown when another process of a [ProcessGroup] has ended or exceeded the timeout. The group can then
/// only be closed; the engine stays usable.
public final class PeerLostException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    PeerLostException(String message, long detail) {
        super(Status.PEER_LOST, message, detail);
    }
}
