package org.smpo.cli;

import java.io.PrintWriter;
import java.util.Optional;
import org.smpo.doctor.BuildInfo;
import org.smpo.io.Causes;
import org.smpo.io.Visible;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.RunLast;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;
import picocli.CommandLine.UnmatchedArgumentException;

/// The `smpo` command. Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.
@Command(
        name = "smpo",
        description = "Preference tuning of diffusion models.",
        mixinStandardHelpOptions = true,
        versionProvider = Main.Version.class,
        subcommands = {
            Doctor.class,
            Inspect.class,
            Convert.class,
            Generate.class,
            Data.class,
            Score.class,
            RewardCommand.class,
            Train.class,
            Iterate.class,
            Trace.class,
            Evaluate.class,
            CacheCommand.class,
            Launch.class,
            Demo.class
        },
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:success", "1:failure", "2:wrong usage or configuration"},
        commandListHeading = "%nCommands:%n",
        footer = "%nRun 'smpo COMMAND --help' for the options of a command.")
public final class Main implements Runnable {
    @Spec
    private CommandSpec spec;

    @Option(names = "--debug", scope = ScopeType.INHERIT, description = "Print a stack trace on failure")
    private boolean debug;

    private Main() {}

    /// Runs the command line and ends the process with its exit code.
    public static void main(String[] arguments) {
        for (String argument : arguments) {
            // Java puts U+FFFD for bytes that the locale's encoding does not have.
            if (argument.indexOf('\uFFFD') >= 0) {
                System.err.println("smpo: " + argument
                        + ": expected an argument in the locale's encoding, found other bytes; set LC_ALL=C.UTF-8");
                System.exit(2);
            }
        }
        System.exit(commandLine().execute(arguments));
    }

    /// The whole command, ready to be executed; output goes to its writers.
    static CommandLine commandLine() {
        Main main = new Main();
        CommandLine terminal = new Terminal(main);
        // The writers that picocli makes have the encoding of the terminal.
        CommandLine commandLine = terminal.setOut(terminal.getOut()).setErr(terminal.getErr());
        commandLine.setExecutionStrategy(parsed -> main.withoutErrors(commandLine, parsed));
        MethodOptions.addTo(commandLine.getSubcommands().get("trace").getCommandSpec());
        // What follows the command belongs to it.
        commandLine.getSubcommands().get(Launch.NAME).setStopAtPositional(true);
        commandLine.setExecutionExceptionHandler(main.failureHandler());
        commandLine.setUsageHelpAutoWidth(true);
        commandLine.setParameterExceptionHandler((wrong, arguments) -> main.refuse(wrong));
        return commandLine;
    }

    /// Requires a subcommand.
    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing command");
    }

    private IExecutionExceptionHandler failureHandler() {
        return (failure, command, parsed) -> {
            Optional<OutOfMemoryError> exhausted = Causes.exhaustedHeap(failure);
            String text = exhausted.isPresent() ? Breakdown.describe(exhausted.get()) : Failure.describe(failure);
            return report(failure, text, command.getErr(), command);
        };
    }

    /// Whether showing the usage would help: an option or an argument is missing or unknown. A value that is
    /// wrong needs no more than its message.
    private static boolean needsUsage(ParameterException wrong) {
        return wrong instanceof MissingParameterException
                || wrong instanceof UnmatchedArgumentException
                || wrong.getCommandLine().getParent() == null;
    }

    private int refuse(ParameterException wrong) {
        CommandLine command = wrong.getCommandLine();
        if (needsUsage(wrong)) {
            // The message comes last, where a person looks first.
            command.usage(command.getErr(), command.getColorScheme());
            command.getErr().println();
        }
        command.getErr().println(command.getColorScheme().errorText(Visible.of(wrong.getMessage())));
        if (debug && wrong.getCause() != null) {
            wrong.printStackTrace(command.getErr());
        }
        command.getErr().flush();
        return command.getCommandSpec().exitCodeOnInvalidInput();
    }

    /// Runs the command, and reports an [Error] as a failure with a sentence.
    private int withoutErrors(CommandLine commandLine, ParseResult parsed) {
        try {
            return new RunLast().execute(parsed);
        } catch (Error error) {
            CommandLine command = commandLine;
            ParseResult verb = parsed;
            while (verb.hasSubcommand()) {
                verb = verb.subcommand();
                command = verb.commandSpec().commandLine();
            }
            return report(error, Breakdown.describe(error), command.getErr(), command);
        }
    }

    private int report(Throwable failure, String text, PrintWriter err, CommandLine command) {
        err.println(command.getColorScheme().errorText("smpo: " + Visible.of(text)));
        if (debug) {
            failure.printStackTrace(err);
        } else {
            err.println("smpo: rerun with --debug for a stack trace");
        }
        err.flush();
        return command.getCommandSpec().exitCodeOnExecutionException();
    }

    /// A command line, and its subcommands, that show control characters in everything printed.
    private static final class Terminal extends CommandLine {
        Terminal(Main main) {
            super(main);
        }

        @Override
        public CommandLine setOut(PrintWriter out) {
            return super.setOut(TerminalWriter.over(out));
        }

        @Override
        public CommandLine setErr(PrintWriter err) {
            return super.setErr(TerminalWriter.over(err));
        }
    }

    /// Output of `--version`: version and commit of the Java side, then of the native library.
    static final class Version implements IVersionProvider {
        @Override
        public String[] getVersion() {
            BuildInfo build = BuildInfo.read();
            return new String[] {"smpo " + build.version() + ", commit " + build.commit(), "library " + build.library()
            };
        }
    }
}
