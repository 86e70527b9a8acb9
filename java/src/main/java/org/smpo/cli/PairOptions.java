package org.smpo.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.smpo.data.PairSource;
import org.smpo.io.Rendering;
import org.smpo.reward.FeatureModel;
import org.smpo.reward.RewardSource;
import org.smpo.reward.ScoreRun;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// The options of the verbs that run a reward model over pairs without writing scores.
final class PairOptions {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(names = "--processor", paramLabel = "DIR", description = OptionTexts.PROCESSOR)
    private Path processor;

    @Option(
            names = "--batch",
            paramLabel = "N",
            defaultValue = "8",
            description = "Number of pairs per batch (default: ${DEFAULT-VALUE})")
    private int batch;

    @Option(
            names = "--max-bad-fraction",
            paramLabel = "X",
            defaultValue = "0.01",
            description = OptionTexts.MAX_BAD_FRACTION)
    private double maxBadFraction;

    @Option(names = "--split", paramLabel = "NAME", description = OptionTexts.SPLIT)
    private String split;

    PairOptions() {}

    /// The reward that an argument names.
    RewardSource reward(String argument, String text) throws IOException {
        try {
            RewardSource source = RewardSource.parse(text);
            return processor == null ? source : source.withProcessor(processor);
        } catch (IllegalArgumentException e) {
            throw usage(argument + ": " + e.getMessage());
        }
    }

    FeatureModel.Reading reading(ScoreRun.Progress progress) {
        if (batch < 1) {
            throw usage("--batch: expected 1 or more, got " + batch);
        }
        if (!(maxBadFraction >= 0 && maxBadFraction <= 1)) {
            throw usage("--max-bad-fraction: expected 0 to 1, got " + maxBadFraction);
        }
        return new FeatureModel.Reading(batch, maxBadFraction, progress);
    }

    PairSource open(Path data) throws IOException {
        PairSource source = PairSource.open(data, Optional.ofNullable(split), Rendering.VIEWER);
        source.notes().forEach(note -> Notices.print(spec, note));
        return source;
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }
}
