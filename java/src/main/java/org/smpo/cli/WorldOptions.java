package org.smpo.cli;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// The options of verbs that several processes can share.
final class WorldOptions {
    static final String WORLD = "--world";
    private static final String JOIN_TIMEOUT = "--join-timeout";
    private static final String PEER_TIMEOUT = "--peer-timeout";
    private static final List<String> OPTIONS = List.of(WORLD, JOIN_TIMEOUT, PEER_TIMEOUT);
    private static final long LONGEST_WAIT = 604_800;

    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(
            names = WORLD,
            paramLabel = "RANK/SIZE@HOST:PORT",
            description = "Place of this process among those that share the work (default: from the environment of"
                    + " torchrun, smpo launch or Slurm's srun, else one process)")
    private String world;

    @Option(
            names = JOIN_TIMEOUT,
            paramLabel = "SECONDS",
            defaultValue = "120",
            description = "Longest wait for the other processes to start, in seconds (default: ${DEFAULT-VALUE})")
    private long joinTimeout;

    @Option(
            names = PEER_TIMEOUT,
            paramLabel = "SECONDS",
            defaultValue = "1800",
            description = "Longest wait for a process that is slower, in seconds; a process that ends is noticed at"
                    + " once on the CPU (default: ${DEFAULT-VALUE})")
    private long peerTimeout;

    private World place;

    WorldOptions() {}

    /// The place of this process.
    World world() {
        if (place == null) {
            try {
                place = World.of(Optional.ofNullable(world), System.getenv());
            } catch (IllegalArgumentException e) {
                throw new ParameterException(spec.commandLine(), e.getMessage(), e);
            }
        }
        return place;
    }

    /// Waits for the other processes; does nothing for one process.
    Peers open() {
        World here = world();
        Duration join = seconds(JOIN_TIMEOUT, joinTimeout);
        Duration timeout = seconds(PEER_TIMEOUT, peerTimeout);
        if (here.size() > 1) {
            Notices.print(
                    spec,
                    "rank " + here.rank() + " of " + here.size() + ": waiting for the others at " + here.host() + ":"
                            + here.port() + ", at most " + joinTimeout + " s");
        }
        return Peers.open(here, spec.name(), join, timeout);
    }

    /// Returns the words of a command line without these options.
    List<String> without(List<String> words) {
        List<String> rest = new ArrayList<>();
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            if (OPTIONS.contains(word)) {
                // Its value is the next word.
                i++;
            } else if (OPTIONS.stream().noneMatch(option -> word.startsWith(option + "="))) {
                rest.add(word);
            }
        }
        return rest;
    }

    private Duration seconds(String option, long value) {
        if (value < 1 || value > LONGEST_WAIT) {
            throw new ParameterException(
                    spec.commandLine(), option + ": expected 1 to " + LONGEST_WAIT + ", got " + value);
        }
        return Duration.ofSeconds(value);
    }
}
