package org.smpo.io;

import java.util.Optional;
import java.util.stream.Stream;

/// The chain of causes behind a failure.
public final class Causes {
    private Causes() {}

    private static Stream<Throwable> of(Throwable failure) {
        return Stream.iterate(failure, cause -> cause != null, Throwable::getCause);
    }

    /// Returns the message of the first cause, or its name where it has no message.
    public static String rootMessage(Throwable failure) {
        Throwable root = of(failure).reduce(failure, (outer, inner) -> inner);
        return root.getMessage() == null ? root.toString() : root.getMessage();
    }

    /// Returns the exhausted heap behind a failure: libraries wrap that error in exceptions of their own.
    public static Optional<OutOfMemoryError> exhaustedHeap(Throwable failure) {
        return of(failure)
                .filter(OutOfMemoryError.class::isInstance)
                .map(OutOfMemoryError.class::cast)
                .findFirst();
    }
}
