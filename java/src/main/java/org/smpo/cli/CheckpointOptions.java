package org.smpo.cli;

import java.nio.file.Path;
import org.smpo.checkpoint.SingleFile;
import org.smpo.schedule.PredictionType;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// Options for properties that a single-file checkpoint does not record.
final class CheckpointOptions {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(names = "--config", paramLabel = "DIR", description = OptionTexts.CONFIG)
    private Path config;

    @Option(names = "--vae", paramLabel = "PATH", description = OptionTexts.VAE)
    private Path vae;

    @Option(
            names = "--prediction-type",
            paramLabel = "TYPE",
            completionCandidates = Choices.PredictionTypes.class,
            description = OptionTexts.PREDICTION_TYPE)
    private String predictionType;

    CheckpointOptions() {}

    /// Null without the option.
    Path config() {
        return config;
    }

    /// Null without the option.
    PredictionType predictionType() {
        try {
            return predictionType == null
                    ? null
                    : Choices.parse(
                            "--prediction-type", Choices.PREDICTION_TYPES, PredictionType::configName, predictionType);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage());
        }
    }

    SingleFile.Options options() {
        return new SingleFile.Options(config, predictionType(), vae, "--");
    }

    /// Diffusers folders record all of this themselves.
    void requireNone() {
        if (config != null || predictionType != null || vae != null) {
            throw new ParameterException(
                    spec.commandLine(),
                    "--config, --prediction-type and --vae: expected a single-file checkpoint, got a diffusers folder,"
                            + " which has its own; leave the options out");
        }
    }
}
