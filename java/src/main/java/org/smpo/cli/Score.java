package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.smpo.data.PairSource;
import org.smpo.io.Rendering;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.report.Progress;
import org.smpo.reward.PairBar;
import org.smpo.reward.Reward;
import org.smpo.reward.RewardSource;
import org.smpo.reward.ScoreRun;
import org.smpo.reward.ScoreStatistics;
import org.smpo.reward.ScoreTable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo score`: scores the pairs of a dataset with a reward model.
@Command(
        name = "score",
        description =
                "Score the images of a dataset with PickScore, HPSv2, ImageReward, the aesthetic predictor, a CLIP"
                        + " model or a head written by smpo reward fit.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:scores written", "1:failure", "2:wrong usage"})
final class Score implements Callable<Integer> {
    private static final int PROBLEMS_SHOWN = 20;

    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "[KIND:]MODEL",
            completionCandidates = Choices.RewardKinds.class,
            description = "File or folder of a reward model, such as pickscore:PickScore_v1. KIND:"
                    + " ${COMPLETION-CANDIDATES} (default: the kind that the files show)")
    private String model;

    @Parameters(
            index = "1",
            paramLabel = "DATA",
            description =
                    "Pairs: Parquet with the columns of Pick-a-Pic, a folder with pairs.jsonl, tar shards, or a dataset"
                            + " written by save_to_disk")
    private Path data;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "Parquet file to write the scores to")
    private Path out;

    @Option(names = "--processor", paramLabel = "DIR", description = OptionTexts.PROCESSOR)
    private Path processor;

    @Option(
            names = "--batch",
            paramLabel = "N",
            defaultValue = "8",
            description = "Number of pairs per batch (default: ${DEFAULT-VALUE})")
    private int batch;

    @Mixin
    private ComputeOptions compute;

    @Option(
            names = "--max-bad-fraction",
            paramLabel = "X",
            defaultValue = "0.01",
            description = OptionTexts.MAX_BAD_FRACTION)
    private double maxBadFraction;

    @Option(names = "--split", paramLabel = "NAME", description = OptionTexts.SPLIT)
    private String split;

    @Option(
            names = "--pillow",
            description =
                    "Decode as Pillow's plain convert(\"RGB\"): ignore the EXIF orientation, drop transparency, clip"
                            + " 16-bit grey")
    private boolean pillow;

    @Option(names = "--resume", description = "Resume an interrupted run (same model, data and options)")
    private boolean resume;

    @Mixin
    private WorldOptions processes;

    Score() {}

    @Override
    public Integer call() throws IOException {
        if (batch < 1) {
            throw usage("--batch: expected 1 or more, got " + batch);
        }
        if (!(maxBadFraction >= 0 && maxBadFraction <= 1)) {
            throw usage("--max-bad-fraction: expected 0 to 1, got " + maxBadFraction);
        }
        RewardSource rewardSource = rewardSource();
        try (Peers peers = processes.open()) {
            return peers.together(() -> score(rewardSource, peers));
        }
    }

    private int score(RewardSource rewardSource, Peers peers) throws IOException {
        World world = peers.world();
        try (PairSource source = PairSource.open(
                        data, Optional.ofNullable(split), pillow ? Rendering.PILLOW : Rendering.VIEWER);
                Reward reward = rewardSource.open(
                        compute.device(world), compute.precision(), world.threads(compute.threads()))) {
            if (world.isFirst()) {
                source.notes().forEach(spec.commandLine().getErr()::println);
            }
            // The kind of device decides the last digits of a score; its index does not.
            ScoreRun run = new ScoreRun(
                    source,
                    reward,
                    batch,
                    Map.of("device", compute.device().replaceFirst(":.*", ""), "rendering", rendering()),
                    spec.commandLine().getErr()::println);
            Optional<ScoreRun.Summary> result;
            try (InterruptNotice _ = new InterruptNotice(
                            spec, "run the same command with --resume to score the remaining pairs");
                    PairBar bar = new PairBar(
                            Progress.Display.ofStandardError(spec.commandLine().getErr()), "score")) {
                result = run.run(out, resume, peers, bar);
            }
            if (result.isEmpty()) {
                return 0;
            }
            ScoreRun.Summary summary = result.get();
            Optional<ScoreStatistics> statistics = ScoreTable.read(out).statistics();
            report(summary, statistics);
            statistics
                    .flatMap(scores -> rewardSource.kind().published().remark(scores.lowest(), scores.highest()))
                    .ifPresent(remark -> spec.commandLine().getErr().println("notice: " + remark));
            requireFewBad(summary);
        }
        return 0;
    }

    private String rendering() {
        return pillow ? "pillow" : "viewer";
    }

    private RewardSource rewardSource() throws IOException {
        try {
            RewardSource source = RewardSource.parse(model);
            return processor == null ? source : source.withProcessor(processor);
        } catch (IllegalArgumentException e) {
            throw usage("MODEL: " + e.getMessage());
        }
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    private void requireFewBad(ScoreRun.Summary summary) throws IOException {
        if (summary.problems().size() > maxBadFraction * summary.pairs()) {
            throw new IOException(data + ": " + summary.problems().size() + " of " + summary.pairs()
                    + " pairs could not be scored, more than --max-bad-fraction (" + maxBadFraction
                    + ") allows; smpo data validate lists them. The scores of the others are in " + out);
        }
    }

    private void report(ScoreRun.Summary summary, Optional<ScoreStatistics> statistics) {
        PrintWriter err = spec.commandLine().getErr();
        summary.problems().entrySet().stream()
                .limit(PROBLEMS_SHOWN)
                .forEach(problem -> err.println("smpo: row " + problem.getKey() + ": " + problem.getValue()));
        if (summary.problems().size() > PROBLEMS_SHOWN) {
            err.println("smpo: and " + (summary.problems().size() - PROBLEMS_SHOWN)
                    + " more; smpo data validate lists them");
        }
        err.flush();
        PrintWriter output = spec.commandLine().getOut();
        output.println(out);
        output.println("pairs: " + summary.scored() + " scored, "
                + summary.problems().size() + " bad"
                + (summary.resumed() > 0 ? ", " + summary.resumed() + " of them in an earlier run" : ""));
        statistics.ifPresent(scores -> output.printf(
                Locale.ROOT,
                "scores: %.6f to %.6f; image 0 is better in %.1f %%%n",
                scores.lowest(),
                scores.highest(),
                100 * scores.firstBetter()));
        output.flush();
    }
}
