package org.smpo.cli;

import java.time.Duration;
import java.util.Optional;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// The options of verbs that several processes can share.
final class WorldOptions {
    private static final long LONGEST_WAIT = 604_800;

    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(
            names = "--world",
            paramLabel = "RANK/SIZE@HOST:PORT",
            description = "Place of this process among those that share the work (default: from the environment of"
                    + " torchrun, smpo launch or Slurm's srun, else one process)")
    private String world;

    @Option(
            names = "--join-timeout",
            paramLabel = "SECONDS",
            defaultValue = "120",
            description = "Longest wait for the other processes to start, in seconds (default: ${DEFAULT-VALUE})")
    private long joinTimeout;

    @Option(
            names = "--peer-timeout",
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
        Duration join = seconds("--join-timeout", joinTimeout);
        Duration timeout = seconds("--peer-timeout", peerTimeout);
        if (here.size() > 1) {
            Notices.print(
                    spec,
                    "rank " + here.rank() + " of " + here.size() + ": waiting for the others at " + here.host() + ":"
                            + here.port() + ", at most " + joinTimeout + " s");
        }
        return Peers.open(here, spec.name(), join, timeout);
    }

    private Duration seconds(String option, long value) {
        if (value < 1 || value > LONGEST_WAIT) {
            throw new ParameterException(
                    spec.commandLine(), option + ": expected 1 to " + LONGEST_WAIT + ", got " + value);
        }
        return Duration.ofSeconds(value);
    }
}
