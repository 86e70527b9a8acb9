package org.smpo.train;

import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.ffi.ProcessExit;

/// Turns a request to end the process (Ctrl-C, SIGTERM) into a stop of the run: the run ends after its step with a
/// checkpoint, and the process ends with the run's exit code instead of the signal's. A second request ends the process
/// at once.
///
/// The virtual machine exits once its shutdown hooks have finished, so the hook waits for the run. It
/// must not wait for the run's thread, because that thread ends the process and thus waits for the
/// hooks.
public final class GracefulShutdown implements AutoCloseable {
    /// The JVM runs the handler of a signal in a thread of this name.
    private static final Pattern HANDLER = Pattern.compile("SIG(INT|TERM|HUP) handler");

    private static final int SIGINT = 2;
    private static final int EXIT_OF_SIGNALS = 128;

    private final Consumer<String> notice;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Thread hook = new Thread(this::shutDown, "smpo-graceful-shutdown");
    private volatile boolean requested;
    private volatile int signal = SIGINT;
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

    /// Lets the process end at once again, because there is nothing to save.
    public void stopAtOnce() {
        stop = null;
    }

    /// Whether the process was asked to end.
    public boolean isRequested() {
        return requested;
    }

    /// Exit code of a process that ended because of the signal that asked it to: 130 for Ctrl-C, 143 for SIGTERM.
    public int stoppedCode() {
        return EXIT_OF_SIGNALS + signal;
    }

    /// The number of the signal whose handler waits for the shutdown hooks; that of Ctrl-C when there is none.
    private static int received() {
        return Thread.getAllStackTraces().keySet().stream()
                .map(thread -> HANDLER.matcher(thread.getName()))
                .filter(Matcher::matches)
                .map(name -> switch (name.group(1)) {
                    case "TERM" -> 15;
                    case "HUP" -> 1;
                    default -> SIGINT;
                })
                .findFirst()
                .orElse(SIGINT);
    }

    /// Sets the exit code of a process that was asked to end. Call it when everything is saved and
    /// printed.
    public void exitCode(int exitCode) {
        code = exitCode;
    }

    private void shutDown() {
        signal = received();
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
