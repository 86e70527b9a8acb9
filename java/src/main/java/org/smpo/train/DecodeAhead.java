package org.smpo.train;

import java.io.IOException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.smpo.data.PreparedBatch;

/// Decodes the images of the next step on a virtual thread while the current step computes. Belongs to the engine's
/// thread.
final class DecodeAhead<T> implements AutoCloseable {
    private final Decoder<T> decoder;
    private long aheadStep = -1;
    private FutureTask<PreparedBatch<T>> ahead;
    private Thread aheadThread;

    /// Decodes the images of a step, on any thread.
    @FunctionalInterface
    interface Decoder<T> {
        PreparedBatch<T> prepare(long step) throws IOException, InterruptedException;
    }

    DecodeAhead(Decoder<T> decoder) {
        this.decoder = decoder;
    }

    /// Returns the images of a step, and begins with those of the next.
    PreparedBatch<T> batch(long step) throws IOException, InterruptedException {
        if (step != aheadStep) {
            begin(step);
        }
        PreparedBatch<T> decoded = result(ahead);
        begin(step + 1);
        return decoded;
    }

    private void begin(long step) {
        close();
        ahead = new FutureTask<>(() -> decoder.prepare(step));
        aheadThread = Thread.ofVirtual().name("smpo-decode").start(ahead);
        aheadStep = step;
    }

    private static <T> PreparedBatch<T> result(FutureTask<PreparedBatch<T>> decoded)
            throws IOException, InterruptedException {
        try {
            return decoded.get();
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case IOException failure -> throw failure;
                case RuntimeException failure -> throw failure;
                case Error failure -> throw failure;
                case null, default -> throw new IOException(e.getCause());
            }
        }
    }

    /// Waits until nothing reads the source, so that it can be closed. The thread is not interrupted,
    /// because an interrupt would close a file that others may still read.
    @Override
    public void close() {
        if (aheadThread == null) {
            return;
        }
        boolean interrupted = false;
        while (aheadThread.isAlive()) {
            try {
                aheadThread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        aheadThread = null;
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
