package org.smpo.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayDeque;
import java.util.Deque;

/// A stack of open resources that close together: the one opened last is closed first, all of them are closed
/// whatever fails, and every failure is kept. The first failure is thrown; the others are suppressed in it.
///
/// A constructor that opens several resources uses it as follows, so that nothing stays open when one of them fails:
///
/// ```text
/// try {
///     engine = parts.add(Engine.open(config));
///     unet = parts.add(UNet.load(engine, files));
/// } catch (IOException | RuntimeException e) {
///     parts.closeAfter(e);
///     throw e;
/// }
/// ```
///
/// Not for use by several threads.
public final class Closer implements AutoCloseable {
    private final Deque<AutoCloseable> open = new ArrayDeque<>();

    /// Registers a resource, which is closed before those registered earlier.
    ///
    /// @return the same resource
    public <T extends AutoCloseable> T add(T resource) {
        open.push(resource);
        return resource;
    }

    /// Closes every resource. A second call does nothing.
    ///
    /// @throws IOException when that was the first failure
    @Override
    public void close() throws IOException {
        switch (closeAll(null)) {
            case null -> {}
            case IOException e -> throw e;
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            case Throwable e -> throw new IllegalStateException(e);
        }
    }

    /// Closes every resource, for owners whose `close` declares no checked exception.
    ///
    /// @throws UncheckedIOException when an [IOException] was the first failure
    public void closeUnchecked() {
        try {
            close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// Closes every resource because `failure` is about to be thrown. Failures to close are suppressed in it.
    public void closeAfter(Throwable failure) {
        closeAll(failure);
    }

    private Throwable closeAll(Throwable failure) {
        Throwable first = failure;
        while (!open.isEmpty()) {
            try {
                open.pop().close();
            } catch (Throwable e) {
                if (first == null) {
                    first = e;
                } else if (!first.equals(e)) {
                    first.addSuppressed(e);
                }
            }
        }
        return first;
    }
}
