package org.smpo.cli;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo launch`: starts a command in several processes on this machine.
@Command(
        name = Launch.NAME,
        description = "Run a command, such as train, in several processes on this machine that share the work.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:all processes succeeded", "other:that of the lowest rank that failed"})
final class Launch implements Callable<Integer> {
    static final String NAME = "launch";
    private static final int MOST = 1024;

    @Spec
    private CommandSpec spec;

    @Option(
            names = {"-n", "--processes"},
            required = true,
            paramLabel = "N",
            description = "Number of processes")
    private int processes;

    @Parameters(
            arity = "1..*",
            paramLabel = "COMMAND",
            description = "Command with its arguments, such as train RECIPE")
    private List<String> command;

    Launch() {}

    @Override
    public Integer call() throws IOException, InterruptedException {
        if (processes < 1 || processes > MOST) {
            throw new ParameterException(
                    spec.commandLine(), "--processes: expected 1 to " + MOST + ", got " + processes);
        }
        List<String> shared = shared();
        if (!shared.contains(command.getFirst())
                && !shared.contains(String.join(" ", command.subList(0, Math.min(2, command.size()))))) {
            throw new ParameterException(
                    spec.commandLine(),
                    "COMMAND: expected one whose work several processes can share (" + String.join(", ", shared)
                            + "), got " + command.getFirst());
        }
        List<String> line = new ArrayList<>(ownCommand());
        line.addAll(command);
        int port = freePort();
        List<Process> started = new ArrayList<>();
        // A request to end this process reaches the others, which then write a checkpoint.
        Thread hook = new Thread(() -> end(started), "smpo-launch");
        Runtime.getRuntime().addShutdownHook(hook);
        for (int rank = 0; rank < processes; rank++) {
            ProcessBuilder builder = new ProcessBuilder(line).inheritIO();
            builder.environment().putAll(environment(rank, processes, port));
            builder.environment().keySet().removeIf(name -> name.startsWith("TORCHELASTIC_"));
            synchronized (started) {
                started.add(builder.start());
            }
        }
        int code = 0;
        for (Process process : started) {
            int one = process.waitFor();
            code = code == 0 ? one : code;
        }
        return code;
    }

    /// The commands whose work several processes share, which have the option for it. Any other would be
    /// run once by each.
    private List<String> shared() {
        List<String> all = new ArrayList<>();
        spec.parent().subcommands().forEach((name, verb) -> {
            if (verb.getCommandSpec().findOption(WorldOptions.WORLD) != null) {
                all.add(name);
            }
            verb.getSubcommands().forEach((inner, part) -> {
                if (part.getCommandSpec().findOption(WorldOptions.WORLD) != null) {
                    all.add(name + " " + inner);
                }
            });
        });
        return all;
    }

    private static void end(List<Process> started) {
        List<Process> all;
        synchronized (started) {
            all = List.copyOf(started);
        }
        all.forEach(Process::destroy);
        for (Process process : all) {
            try {
                process.waitFor();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return;
            }
        }
    }

    private static Map<String, String> environment(int rank, int size, int port) {
        return Map.of(
                "RANK", Integer.toString(rank),
                "LOCAL_RANK", Integer.toString(rank),
                "WORLD_SIZE", Integer.toString(size),
                "LOCAL_WORLD_SIZE", Integer.toString(size),
                "MASTER_ADDR", "127.0.0.1",
                "MASTER_PORT", Integer.toString(port));
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    /// The command line of this process up to the name of this verb.
    private static List<String> ownCommand() throws IOException {
        ProcessHandle.Info info = ProcessHandle.current().info();
        List<String> arguments = Arrays.asList(info.arguments().orElse(new String[0]));
        int verb = arguments.indexOf(NAME);
        if (info.command().isEmpty() || verb < 0) {
            throw new IOException("the command line of this process cannot be read; start each process yourself, with"
                    + " --world RANK/SIZE@HOST:PORT");
        }
        List<String> line = new ArrayList<>(List.of(info.command().get()));
        line.addAll(arguments.subList(0, verb));
        return line;
    }
}
