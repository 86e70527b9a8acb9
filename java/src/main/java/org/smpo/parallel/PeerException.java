package org.smpo.parallel;

import java.io.Serial;

/// Thrown when another process of the [World] has failed, ended or disagrees. The work then ends on every process.
public final class PeerException extends RuntimeException {
    @Serial
    private static final long serialVersionUID = 1;

    PeerException(String message) {
        super(message);
    }

    PeerException(String message, Throwable cause) {
        super(message, cause);
    }
}
