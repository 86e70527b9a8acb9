package org.smpo.cli;

import java.util.Locale;
import org.smpo.io.Causes;

/// What to tell a user about an [Error], by which the machine or the installation ends a command: a
/// sentence with the cause and what to do.
final class Breakdown {
    private static final int MEGA = 1 << 20;

    private Breakdown() {}

    /// The sentence, for an error of the virtual machine or of a library.
    static String describe(Error error) {
        String message = error.getMessage() == null ? error.toString() : error.getMessage();
        return switch (error) {
            case OutOfMemoryError _ -> outOfMemory(message);
            case StackOverflowError _ ->
                "the input is nested more deeply than the Java stack allows; give a simpler input, or more stack with "
                        + "SMPO_JAVA_OPTIONS=-Xss16m";
            case NoClassDefFoundError _ ->
                "a part of smpo is missing: " + message + "; if smpo was rebuilt or moved while it ran, run the "
                        + "command again";
            case LinkageError unusable ->
                "a library cannot be used: " + Causes.rootMessage(unusable)
                        + "; run smpo doctor, which names what is missing";
            case InternalError fault
            when message.contains("unsafe memory access") ->
                "a file became shorter, or its disk failed, while it was read; restore the file and run the command "
                        + "again";
            default ->
                error.getClass().getSimpleName() + ": " + message + "; this is a defect of smpo, please report it "
                        + "with the output of --debug";
        };
    }

    private static String outOfMemory(String message) {
        if (message.toLowerCase(Locale.ROOT).contains("thread")) {
            return "the system allows no further thread (" + message + "); raise the limit of processes, or use fewer "
                    + "threads";
        }
        return "out of memory: expected room in the Java heap of "
                + Runtime.getRuntime().maxMemory() / MEGA
                + " MB, found none (" + message + "); give it more with SMPO_JAVA_OPTIONS=-Xmx4g, or process fewer or "
                + "smaller images at a time";
    }
}
