package org.smpo.cli;

import org.smpo.io.Precision;
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
            defaultValue = "cpu",
            description = "Device to compute on: cpu, cuda or cuda:N (default: ${DEFAULT-VALUE})")
    private String device;

    @Option(
            names = "--precision",
            paramLabel = "TYPE",
            defaultValue = "fp32",
            completionCandidates = Choices.Precisions.class,
            description = OptionTexts.PRECISION)
    private String precision;

    @Option(
            names = "--threads",
            paramLabel = "N",
            defaultValue = "0",
            description = "Number of CPU threads; 0 uses one per physical core (default: ${DEFAULT-VALUE})")
    private int threads;

    ComputeOptions() {}

    /// `cpu`, `cuda` or `cuda:N`.
    String device() {
        if (!device.matches("cpu|cuda(:\\d{1,4})?")) {
            throw usage("--device: expected cpu, cuda or cuda:N, got " + device);
        }
        return device;
    }

    Precision precision() {
        try {
            return Choices.parse("--precision", Choices.PRECISIONS, Precision::id, precision);
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
