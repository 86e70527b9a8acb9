package org.smpo.cli;

import java.util.Optional;
import org.smpo.io.Precision;
import org.smpo.network.Compute;
import org.smpo.parallel.World;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// The options of every verb that runs networks: device, precision and threads.
final class ComputeOptions {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(
            names = "--device",
            paramLabel = "NAME",
            defaultValue = Compute.AUTO,
            description = "Device to compute on: cpu, cuda or cuda:N; auto takes the first usable GPU, else the CPU"
                    + " (default: ${DEFAULT-VALUE})")
    private String device;

    @Option(
            names = "--precision",
            paramLabel = "TYPE",
            defaultValue = Compute.AUTO,
            completionCandidates = Choices.Precisions.class,
            description = OptionTexts.PRECISION_OR_AUTO)
    private String precision;

    @Option(
            names = "--threads",
            paramLabel = "N",
            defaultValue = "0",
            description = "Number of CPU threads; 0 uses one per physical core (default: ${DEFAULT-VALUE})")
    private int threads;

    private Compute chosen;

    ComputeOptions() {}

    /// `cpu`, `cuda` or `cuda:N`.
    String device() {
        return chosen().device();
    }

    /// The device of one of several processes: those of a machine have one GPU each.
    String device(World world) {
        return world.device(device());
    }

    Precision precision() {
        return chosen().precision();
    }

    /// Decides once, and says so.
    private Compute chosen() {
        if (chosen == null) {
            if (!device.matches("auto|cpu|cuda(:\\d{1,4})?")) {
                throw usage("--device: expected auto, cpu, cuda or cuda:N, got " + device);
            }
            chosen = Compute.choose(device, givenPrecision());
            if (device.equals(Compute.AUTO) || precision.equals(Compute.AUTO)) {
                Notices.print(spec, chosen.describe());
            }
        }
        return chosen;
    }

    private Optional<Precision> givenPrecision() {
        if (precision.equals(Compute.AUTO)) {
            return Optional.empty();
        }
        try {
            return Optional.of(Choices.parse("--precision", Choices.PRECISIONS, Precision::id, precision));
        } catch (IllegalArgumentException e) {
            throw usage(e.getMessage());
        }
    }

    int threads() {
        if (threads < 0) {
            throw usage("--threads: expected 0 or more, got " + threads);
        }
        return threads;
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }
}
