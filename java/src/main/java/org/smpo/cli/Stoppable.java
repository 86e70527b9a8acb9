package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import org.smpo.train.GracefulShutdown;

/// Work that Ctrl-C or SIGTERM stops with everything saved; see [GracefulShutdown].
final class Stoppable {
    private Stoppable() {}

    /// The work, which returns the exit code.
    @FunctionalInterface
    interface Work {
        int run(GracefulShutdown ending) throws IOException, InterruptedException;
    }

    /// Does the work and returns its exit code.
    static int run(PrintWriter err, Work work) throws IOException, InterruptedException {
        try (GracefulShutdown ending = new GracefulShutdown(message -> {
            err.println("smpo: " + message);
            err.flush();
        })) {
            int code;
            try {
                code = work.run(ending);
            } catch (IOException | RuntimeException e) {
                if (!ending.isRequested()) {
                    throw e;
                }
                // The process ends before the usual handler could print the failure.
                err.println("smpo: " + Failure.describe(e));
                err.flush();
                code = 1;
            }
            ending.exitCode(code);
            return code;
        }
    }
}
