package org.smpo.cli;

import java.io.PrintWriter;
import picocli.CommandLine.Model.CommandSpec;

/// A line for a user who ends a command before it is done (Ctrl-C, SIGTERM): what is kept and how to go
/// on. The process ends with the signal's exit code, as it would without the line.
final class InterruptNotice implements AutoCloseable {
    private final Thread hook;

    /// Prints `smpo: interrupted; MESSAGE` to standard error if the process is asked to end before
    /// [#close()].
    InterruptNotice(CommandSpec spec, String message) {
        hook = new Thread(
                () -> {
                    PrintWriter err = spec.commandLine().getErr();
                    err.println();
                    Notices.print(spec, "interrupted; " + message);
                },
                "smpo-interrupt-notice");
        Runtime.getRuntime().addShutdownHook(hook);
    }

    @Override
    public void close() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The process is ending: the hook is running.
            return;
        }
    }
}
