package org.smpo.ffi;

import java.io.Serial;

/// Another process of a [ProcessGroup] has ended, or was later than the timeout. The group can only be closed; the
/// engine stays usable.
public final class PeerLostException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    PeerLostException(String message, long detail) {
        super(Status.PEER_LOST, message, detail);
    }
}
