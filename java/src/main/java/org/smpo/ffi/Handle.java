package org.smpo.ffi;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/// The owner of native memory. Close it exactly where you would free the memory, preferably with
/// try-with-resources.
///
/// [#close()] may be called any number of times. Any other call on a closed handle throws an
/// [InvalidHandleException]. A call on any thread but the engine's owner throws a
/// [NotOwnerThreadException].
///
/// A handle that becomes garbage without being closed is a bug, but its memory is not lost: the next
/// call on its engine frees it, on the owner's thread. The leak is reported to the [System.Logger]
/// `org.smpo.ffi`, with the stack that opened the handle, if `-Dsmpo.leaks=true` is given. Without that
/// property it is reported when assertions are enabled for this class.
public abstract class Handle implements AutoCloseable {
    private static final String LEAKS = System.getProperty("smpo.leaks");

    private static final boolean REPORT_LEAKS =
            LEAKS == null ? Handle.class.desiredAssertionStatus() : Boolean.parseBoolean(LEAKS);

    private static final System.Logger LOG = System.getLogger("org.smpo.ffi");
    private static final Cleaner CLEANER = Cleaner.create();

    private final Session session;
    private final Claim claim;
    private final Cleaner.Cleanable cleanable;

    /// Registers an open native handle.
    ///
    /// @param session Session of the engine that the handle belongs to
    /// @param id Native handle, open
    /// @param name Description for messages, in a few words
    /// @param closer Function that frees the handle if it was leaked; null for an engine, which its
    ///     owner closes
    Handle(Session session, long id, String name, Closer closer) {
        this.session = session;
        this.claim = new Claim(session, id, name, closer, REPORT_LEAKS ? new Throwable("opened here") : null);
        this.cleanable = CLEANER.register(this, claim);
    }

    /// Frees the native memory. Does nothing if the handle or its engine is already closed.
    ///
    /// @throws NotOwnerThreadException on any thread but the owner's; the handle stays open
    @Override
    public final void close() {
        if (isClosed()) {
            claim.closed = true;
            cleanable.clean();
            return;
        }
        checkOwner();
        claim.closed = true;
        cleanable.clean();
        release(claim.id);
    }

    /// Returns whether this handle or its engine is closed. May be called from any thread.
    public final boolean isClosed() {
        return claim.closed || session.closed;
    }

    /// Returns a short description and whether the handle is closed.
    @Override
    public final String toString() {
        return isClosed() ? claim.name + " (closed)" : claim.name;
    }

    /// Frees the native memory behind `id`. The owner calls this once.
    abstract void release(long id);

    final Session session() {
        return session;
    }

    /// Returns the native handle for an immediate call on this thread.
    final long id() {
        checkOwner();
        if (claim.closed) {
            throw new InvalidHandleException(claim.name + " is closed", 0);
        }
        if (session.closed) {
            throw new InvalidHandleException(claim.name + " is closed: its engine was closed", 0);
        }
        return claim.id;
    }

    /// Returns the native handle without any check, for the one function that any thread may call.
    final long uncheckedId() {
        return claim.id;
    }

    private void checkOwner() {
        if (!session.owner.equals(Thread.currentThread())) {
            throw new NotOwnerThreadException(
                    claim.name + ": belongs to thread \"" + session.owner.getName() + "\", called from \""
                            + Thread.currentThread().getName() + "\"",
                    0);
        }
    }

    /// The native function that closes handles of one kind.
    @FunctionalInterface
    interface Closer {
        int close(long session, long id, MemorySegment error);
    }

    /// A native handle whose owner is garbage.
    record Abandoned(Closer closer, long id) {}

    /// The state that an engine and its tensors share: the owner thread, whether all are closed, and
    /// leaked handles.
    static final class Session {
        final Thread owner = Thread.currentThread();

        /// Leaked handles for the owner to close: the native library accepts the close only from the
        /// owner's thread.
        final Queue<Abandoned> abandoned = new ConcurrentLinkedQueue<>();

        /// Set when a handle was added to `abandoned`. Each call reads this flag instead of polling the
        /// queue.
        volatile boolean leaked;

        volatile boolean closed;
    }

    /// The remains of a handle that became garbage: enough to report and reclaim it, without a reference
    /// to it.
    private static final class Claim implements Runnable {
        private final Session session;
        private final long id;
        private final String name;
        private final Closer closer;
        private final Throwable opened;
        private volatile boolean closed;

        Claim(Session session, long id, String name, Closer closer, Throwable opened) {
            this.session = session;
            this.id = id;
            this.name = name;
            this.closer = closer;
            this.opened = opened;
        }

        /// Runs once: in [Handle#close()] or after the handle became unreachable. The latter may happen
        /// while a call on the handle is in flight, because the call holds only the number. That is
        /// safe: the number is not closed here but by a later call of the owner.
        @Override
        public void run() {
            if (closed || session.closed) {
                return;
            }
            if (opened != null) {
                LOG.log(System.Logger.Level.WARNING, "leak: " + name + " was never closed", opened);
            }
            if (closer != null) {
                session.abandoned.add(new Abandoned(closer, id));
                session.leaked = true;
            }
        }
    }
}
