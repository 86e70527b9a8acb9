package org.smpo.parallel;

import java.io.Serial;

/// Thrown on all processes of the [World] when one of them was asked to stop. They all stop in the same
/// state.
public final class PeerStoppedException extends RuntimeException {
    @Serial
    private static final long serialVersionUID = 1;

    PeerStoppedException(int rank) {
        super("rank " + rank + " was asked to stop");
    }
}
