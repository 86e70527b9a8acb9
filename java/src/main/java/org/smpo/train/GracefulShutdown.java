package org.smpo.train;

import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import org.smpo.ffi.ProcessExit;

/// Turns a request to end the process (Ctrl-C, SIGTERM) into a stop of the run: the run ends after its step with a
/// checkpoint, and the process ends with the run's exit code instead of the signal's. A second request ends the process
/// at once.
///
/// The virtual machine exits once its shutdown hooks have finished, so the hook waits for the run. It
/// must not wait for the run's thread, because that thread ends the process and thus waits for the
/// hooks.
public final class GracefulShutdown implements AutoCloseable {
    private final Consumer<String> notice;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Thread hook = new Thread(this::shutDown, "smpo-graceful-shutdown");
    private volatile boolean requested;
    private volatile int code = -1;
    private volatile Runnable stop;

    /// Installs the shutdown hook.
    ///
    /// @param notice receiver of the message that tells the user what happens
    public GracefulShutdown(Consumer<String> notice) {
        this.notice = notice;
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /// Keeps the process alive until [#close()], because from now on there is something to save.
    ///
    /// @param request asks the run to stop; called from another thread
    public void stopWith(Runnable request) {
        stop = request;
        if (requested) {
            request.run();
        }
    }

    /// Whether the process was asked to end.
    public boolean isRequested() {
        return requested;
    }

    /// Sets the exit code of a process that was asked to end. Call it when everything is saved and
    /// printed.
    public void exitCode(int exitCode) {
        code = exitCode;
    }

    private void shutDown() {
        requested = true;
        Runnable request = stop;
        if (request == null) {
            return;
        }
        ProcessExit.endAtSecondSignal();
        notice.accept("stopping with a checkpoint of the last whole step; press Ctrl-C again to stop now");
        request.run();
        try {
            ended.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return;
        }
        if (code >= 0) {
            Runtime.getRuntime().halt(code);
        }
    }

    /// Lets the process end.
    @Override
    public void close() {
        ended.countDown();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The process is ending: the hook is running.
            return;
        }
    }
}
