package org.smpo.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Model.CommandSpec;

/// Prints what a person should know about the files that a verb reads.
final class Notices {
    private Notices() {}

    /// Prints a line to standard error.
    static void print(CommandSpec spec, String line) {
        PrintWriter err = spec.commandLine().getErr();
        err.println("smpo: " + line);
        err.flush();
    }

    /// Prints a line for each notice to standard error.
    static void print(CommandSpec spec, Path path, List<String> notices) {
        PrintWriter err = spec.commandLine().getErr();
        notices.forEach(notice -> err.println("smpo: " + path + ": " + notice));
        err.flush();
    }
}
