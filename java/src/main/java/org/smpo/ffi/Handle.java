package org.smpo.ffi;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/// Owner of native memory: close it exactly where you would free it, best with try-with-resources.
///
/// [#close()] may be called any number of times. Everything else on a closed handle is an
/// [InvalidHandleException], and on any thread but the owner of the engine a [NotOwnerThreadException].
///
/// A handle that becomes garbage unclosed is a bug, yet not a lasting loss: the next call of its engine frees what
/// it held, on the owner's thread. It is reported to the [System.Logger] `org.smpo.ffi`, with the stack that
/// opened it, when `-Dsmpo.leaks=true` is given or, unless that says false, when assertions are enabled for this
/// class.
public abstract class Handle implements AutoCloseable {
    private static final String LEAKS = System.getProperty("smpo.leaks");

    private static final boolean REPORT_LEAKS =
            LEAKS == null ? Handle.class.desiredAssertionStatus() : Boolean.parseBoolean(LEAKS);

    private static final System.Logger LOG = System.getLogger("org.smpo.ffi");
    private static final Cleaner CLEANER = Cleaner.create();

    private final Session session;
    private final Claim claim;
    private final Cleaner.Cleanable cleanable;

    /// @param session the engine that the handle belongs to
    /// @param id the native handle, open
    /// @param name for messages: what it is, in a few words
    /// @param closer the function that frees it when it was leaked; null for an engine, which its owner closes
    Handle(Session session, long id, String name, Closer closer) {
        this.session = session;
        this.claim = new Claim(session, id, name, closer, REPORT_LEAKS ? new Throwable("opened here") : null);
        this.cleanable = CLEANER.register(this, claim);
    }

    /// Frees the native memory. Does nothing when that is done already, be it by closing the engine.
    ///
    /// @throws NotOwnerThreadException on another thread than the owner's; the handle stays open
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

    /// Whether this handle or its engine was closed. From any thread.
    public final boolean isClosed() {
        return claim.closed || session.closed;
    }

    /// What this is, in a few words, and whether it is closed.
    @Override
    public final String toString() {
        return isClosed() ? claim.name + " (closed)" : claim.name;
    }

    /// Frees the native memory behind `id`; called once, by the owner.
    abstract void release(long id);

    final Session session() {
        return session;
    }

    /// The native handle, for a call on this thread now.
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

    /// The native handle without any check: for the one function that may be called from any thread.
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

    /// The function of the border that closes handles of one kind.
    @FunctionalInterface
    interface Closer {
        int close(long session, long id, MemorySegment error);
    }

    /// A native handle whose owner is garbage.
    record Abandoned(Closer closer, long id) {}

    /// What an engine and its tensors share: who owns them, whether all are closed, and what was leaked.
    static final class Session {
        final Thread owner = Thread.currentThread();

        /// What became garbage unclosed, for the owner to close: the native library takes it from that thread only.
        final Queue<Abandoned> abandoned = new ConcurrentLinkedQueue<>();

        /// Set when something was put into `abandoned`: one read per call instead of a look into the queue.
        volatile boolean leaked;

        volatile boolean closed;
    }

    /// What remains of a handle when it is garbage: enough to report and to reclaim it, and no reference to it.
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

        /// Runs once: in [Handle#close()], or when the handle has become unreachable. The latter may be while a
        /// call on it is in flight, since the call holds the number only; that does no harm, as the number
        /// is not closed here but by a later call of the owner.
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
