package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.smpo.data.PairSource;
import org.smpo.io.Closer;
import org.smpo.objective.HeadFeatures;
import org.smpo.report.Progress;
import org.smpo.reward.DomainWeights;
import org.smpo.reward.FeatureModel;
import org.smpo.reward.HeadFit;
import org.smpo.reward.PairBar;
import org.smpo.reward.RewardSource;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo data weigh`: weighs pairs by how much they look like a target domain.
@Command(
        name = "weigh",
        description = {
            "Weigh pairs by how much their images look like a target domain (DoRA).",
            "Classifiers on the embeddings of a CLIP model tell the target from each source; the weight of an image is"
                    + " its density in the target relative to the training data. The probabilities of a pair come from"
                    + " classifiers that have not seen its caption.",
            "Name the file in labels.weights of a recipe whose data.paths lists the targets and then the sources."
        },
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:weights written", "1:failure", "2:wrong usage"})
final class DataWeigh implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            paramLabel = "[KIND:]CLIP",
            description = "CLIP model, or a reward that is one: clip, pickscore or hpsv2")
    private String model;

    @Option(
            names = "--target",
            required = true,
            paramLabel = "DATA",
            description = "Pairs of the target; may be repeated")
    private List<Path> targets = List.of();

    @Option(names = "--source", required = true, paramLabel = "DATA", description = "Other pairs; may be repeated")
    private List<Path> sources = List.of();

    @Option(
            names = "--target-only",
            description = "The target is not trained on: weigh the sources alone, with weights of at most --max-weight")
    private boolean targetOnly;

    @Option(
            names = "--max-weight",
            paramLabel = "X",
            defaultValue = "10",
            description = "Largest weight of an image with --target-only (default: ${DEFAULT-VALUE})")
    private double maxWeight;

    @Option(
            names = "--features",
            paramLabel = "WHAT",
            completionCandidates = Choices.Features.class,
            defaultValue = "both",
            description = OptionTexts.HEAD_FEATURES)
    private String features;

    @Option(names = "--l2", paramLabel = "X", defaultValue = "0.001", description = OptionTexts.L2)
    private double l2;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "Parquet file to write the weights to")
    private Path out;

    @Mixin
    private PairOptions data;

    @Mixin
    private ComputeOptions compute;

    DataWeigh() {}

    @Override
    public Integer call() throws IOException {
        if (!(l2 > 0 && l2 < Double.POSITIVE_INFINITY)) {
            throw usage("--l2: expected a number above 0, got " + l2);
        }
        if (!(maxWeight > 0 && maxWeight < Double.POSITIVE_INFINITY)) {
            throw usage("--max-weight: expected a number above 0, got " + maxWeight);
        }
        if (Files.exists(out)) {
            throw usage("--out: " + out + " exists already; remove it or choose another file");
        }
        RewardSource base = data.reward("CLIP", model);
        DomainWeights.Outcome outcome;
        try (Closer parts = new Closer()) {
            PairBar bar = parts.add(new PairBar(
                    Progress.Display.ofStandardError(spec.commandLine().getErr()), "embed"));
            HeadFit fit = new HeadFit(
                    parts.add(FeatureModel.open(
                            base, compute.device(), compute.precision(), compute.threads(), data.reading(bar))),
                    Choices.parse("--features", Choices.HEAD_FEATURES, HeadFeatures::id, features),
                    l2);
            outcome = new DomainWeights(fit, targetOnly, maxWeight)
                    .write(open(targets, parts), open(sources, parts), out);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
        outcome.warnings().forEach(warning -> Notices.print(spec, "warning: " + warning));
        PrintWriter output = spec.commandLine().getOut();
        output.println(out);
        outcome.lines().forEach(output::println);
        output.println("for data.paths: ["
                + Stream.concat(targetOnly ? Stream.of() : targets.stream(), sources.stream())
                        .map(Path::toString)
                        .collect(Collectors.joining(", "))
                + "]");
        output.flush();
        return 0;
    }

    private List<PairSource> open(List<Path> paths, Closer parts) throws IOException {
        List<PairSource> all = new ArrayList<>();
        for (Path path : paths) {
            all.add(parts.add(data.open(path)));
        }
        return all;
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }
}
