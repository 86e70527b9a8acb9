package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.smpo.checkpoint.SingleFile;
import org.smpo.doctor.BuildInfo;
import org.smpo.evaluate.Bootstrap;
import org.smpo.evaluate.Comparison;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.evaluate.Evaluation;
import org.smpo.evaluate.EvaluationRequest;
import org.smpo.evaluate.EvaluationResult;
import org.smpo.evaluate.GenerationSetup;
import org.smpo.evaluate.Metric;
import org.smpo.evaluate.MetricSummary;
import org.smpo.evaluate.Metrics;
import org.smpo.generate.NegativeCondition;
import org.smpo.generate.PromptFile;
import org.smpo.io.ShellWords;
import org.smpo.network.Prompt;
import org.smpo.parallel.Peers;
import org.smpo.report.Progress;
import org.smpo.reward.RewardSource;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo evaluate`: compares models on a file of prompts.
@Command(
        name = "evaluate",
        description = {
            "Compare models on the same prompts and the same noise, and write a report with confidence intervals.",
            "If interrupted, rerun the same command to resume. The same command with further rewards scores the images"
                    + " that are there by these as well."
        },
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:report written", "1:failure", "2:wrong usage"})
final class Evaluate implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            arity = "1..*",
            paramLabel = "MODEL",
            description = {"[NAME=]" + OptionTexts.MODEL + ".", "Every other model is compared with the first."})
    private List<String> models = List.of();

    @Option(names = "--prompts", required = true, paramLabel = "FILE", description = OptionTexts.PROMPT_FILE)
    private Path prompts;

    @Option(
            names = "--limit",
            paramLabel = "N",
            description = "Number of prompts to use, from the start of the file (default: all)")
    private Integer limit;

    @Option(
            names = "--reward",
            paramLabel = "[NAME=][KIND:]PATH",
            completionCandidates = Choices.RewardKinds.class,
            description = "Reward model to score the images with; repeatable. KIND: ${COMPLETION-CANDIDATES} (default:"
                    + " the kind that the files show)")
    private List<String> rewards = List.of();

    @Option(names = "--processor", paramLabel = "DIR", description = OptionTexts.PROCESSOR)
    private Path processor;

    @Option(
            names = "--checker",
            description = "Score each image as right or wrong with the demo's checker (for its captions, at 64x64)")
    private boolean checker;

    @Option(
            names = {"--images", "--pictures"},
            paramLabel = "N",
            defaultValue = "1",
            description = "Number of images per prompt, each from its own noise (default: ${DEFAULT-VALUE})")
    private int imagesPerPrompt;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Seed of the first image; later images use consecutive seeds (default: ${DEFAULT-VALUE})")
    private long seed;

    @Mixin
    private GenerationOptions generation;

    @Mixin
    private ComputeOptions compute;

    @Mixin
    private CheckpointOptions checkpoints;

    @Option(
            names = "--resamples",
            paramLabel = "N",
            defaultValue = "2000",
            description = "Number of bootstrap resamples (default: ${DEFAULT-VALUE})")
    private int resamples;

    @Option(
            names = "--gallery",
            paramLabel = "N",
            defaultValue = "8",
            description = "Number of gains, of losses and of random samples that the report shows (default:"
                    + " ${DEFAULT-VALUE})")
    private int gallery;

    @Option(
            names = "--out",
            required = true,
            paramLabel = "DIR",
            description = "Folder for the report, the images and the results")
    private Path out;

    @Mixin
    private WorldOptions processes;

    Evaluate() {}

    @Override
    public Integer call() throws IOException {
        Optional<EvaluationResult> result;
        try (InterruptNotice _ = new InterruptNotice(spec, "run the same command again to resume");
                Peers peers = processes.open()) {
            result = Evaluation.run(
                    peers.together(this::request),
                    out,
                    peers,
                    Progress.Display.ofStandardError(spec.commandLine().getErr()));
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
        result.ifPresent(this::report);
        return 0;
    }

    private EvaluationRequest request() throws IOException {
        SingleFile.Options options = checkpoints.options();
        NegativeCondition condition = generation.negativeCondition(ModelArgument.haveNegative(models));
        List<EvaluatedModel> all = new ArrayList<>();
        for (String model : models) {
            all.add(ModelArgument.parse(model, options, condition, warning -> Notices.print(spec, warning)));
        }
        List<Prompt> texts = PromptFile.read(prompts);
        if (limit != null && limit < 1) {
            throw new IllegalArgumentException("--limit: expected 1 or more, got " + limit);
        }
        BuildInfo build = BuildInfo.read();
        return new EvaluationRequest(
                all,
                limit == null ? texts : texts.subList(0, Math.min(limit, texts.size())),
                generation.negativePrompt(),
                seed,
                imagesPerPrompt,
                new GenerationSetup(
                        generation.config(),
                        generation.batch(),
                        compute.device(processes.world()),
                        compute.precision(),
                        processes.world().threads(compute.threads())),
                metrics(),
                new Bootstrap(0, resamples, 0.95),
                gallery,
                new EvaluationRequest.Provenance(build.version(), build.commit(), build.library(), command()),
                List.of());
    }

    /// The checker comes first: no model was trained on it, so it leads the report.
    private List<Metric.Source> metrics() throws IOException {
        List<Metric.Source> all = new ArrayList<>();
        if (checker) {
            all.add(Metrics.checker());
        }
        for (String reward : rewards) {
            RewardSource source = RewardSource.parse(reward).withProcessor(Optional.ofNullable(processor));
            String name = source.name().orElse(rewards.size() == 1 ? "reward" : fileName(source.path()));
            all.add(Metrics.reward(name, source));
        }
        if (all.isEmpty()) {
            throw new IllegalArgumentException("expected a metric: --reward, --checker or both");
        }
        return all;
    }

    private static String fileName(Path folder) {
        return String.valueOf(folder.toAbsolutePath().normalize().getFileName()).replaceAll("[^A-Za-z0-9_-]", "_");
    }

    /// The command line as one would type it for one process.
    private String command() {
        return "smpo "
                + ShellWords.join(
                        processes.without(spec.commandLine().getParseResult().originalArgs()));
    }

    private void report(EvaluationResult result) {
        PrintWriter output = spec.commandLine().getOut();
        for (MetricSummary summary : result.summaries()) {
            if (summary.category() == null) {
                output.printf(
                        Locale.ROOT,
                        "%s: %s: %.5g [%.5g, %.5g]%n",
                        summary.metric(),
                        summary.model(),
                        summary.mean().estimate(),
                        summary.mean().low(),
                        summary.mean().high());
            }
        }
        for (Comparison found : result.comparisons()) {
            if (found.category() == null) {
                output.printf(
                        Locale.ROOT,
                        "%s: %s against %s: %+.5g [%+.5g, %+.5g], wins %.1f %% [%.1f, %.1f]%n",
                        found.metric(),
                        found.model(),
                        found.against(),
                        found.meanDifference().estimate(),
                        found.meanDifference().low(),
                        found.meanDifference().high(),
                        100 * found.winRate().estimate(),
                        100 * found.winRate().low(),
                        100 * found.winRate().high());
            }
        }
        output.println(result.report());
        output.flush();
    }
}
