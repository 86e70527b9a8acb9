package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.smpo.data.PairScores;
import org.smpo.data.PairSource;
import org.smpo.io.Precision;
import org.smpo.report.Progress;
import org.smpo.reward.PickScore;
import org.smpo.reward.ScoreRun;
import org.smpo.reward.ScoreTable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo score`: scores a data set's pairs with a reward model.
@Command(
        name = "score",
        description = "Score a data set's images with PickScore, or another CLIP model.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:written", "1:it failed", "2:wrong usage"})
final class Score implements Callable<Integer> {
    private static final int PROBLEMS_SHOWN = 20;

    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "MODEL",
            description = "Folder of a CLIP model in transformers' layout, such as PickScore_v1.")
    private Path model;

    @Parameters(
            index = "1",
            paramLabel = "DATA",
            description = "Pairs: Parquet as Pick-a-Pic's, a folder with pairs.jsonl, tar shards, or a saved data set.")
    private Path data;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "Parquet file for the scores.")
    private Path out;

    @Option(
            names = "--processor",
            paramLabel = "DIR",
            description = "Folder with preprocessor_config.json and the tokenizer, if MODEL has none.")
    private Path processor;

    @Option(names = "--batch", paramLabel = "N", defaultValue = "8", description = "Pairs at once. Default: 8.")
    private int batch;

    @Option(names = "--device", paramLabel = "NAME", defaultValue = "cpu", description = "cpu, cuda or cuda:N.")
    private String device;

    @Option(names = "--precision", paramLabel = "TYPE", defaultValue = "fp32", description = "fp32 or bf16.")
    private String precision;

    @Option(names = "--threads", paramLabel = "N", defaultValue = "0", description = "0: one per physical core.")
    private int threads;

    @Option(
            names = "--max-bad-fraction",
            paramLabel = "X",
            defaultValue = "0.01",
            description = "Share of pairs that may be bad; with more the command fails. Default: ${DEFAULT-VALUE}.")
    private double maxBadFraction;

    @Option(names = "--resume", description = "Go on with a run of the same model, data and options that was stopped.")
    private boolean resume;

    Score() {}

    @Override
    public Integer call() throws IOException {
        Precision type = switch (precision) {
            case "fp32" -> Precision.FP32;
            case "bf16" -> Precision.BF16;
            default -> throw usage("--precision: expected fp32 or bf16, got " + precision);
        };
        if (!device.matches("cpu|cuda(:\\d{1,4})?")) {
            throw usage("--device: expected cpu, cuda or cuda:N, got " + device);
        }
        if (batch < 1) {
            throw usage("--batch: expected 1 or more, got " + batch);
        }
        if (!(maxBadFraction >= 0 && maxBadFraction <= 1)) {
            throw usage("--max-bad-fraction: expected 0 to 1, got " + maxBadFraction);
        }
        if (!Files.isDirectory(model)) {
            throw usage(
                    "MODEL: " + model + ": expected a folder, found " + (Files.exists(model) ? "a file" : "nothing"));
        }
        try (PairSource source = PairSource.open(data);
                PickScore reward =
                        PickScore.open(model, processor == null ? model : processor, device, type, threads)) {
            // Which kind of device counts for the last digits, which one of its kind does not.
            ScoreRun run = new ScoreRun(
                    source,
                    reward,
                    batch,
                    Map.of(
                            "device",
                            device.replaceFirst(":.*", ""),
                            "logit_scale",
                            Double.toString(reward.logitScale())));
            ScoreRun.Summary summary;
            try (Bar bar = new Bar(spec.commandLine().getErr())) {
                summary = run.run(out, resume, bar);
            }
            report(summary, ScoreTable.read(out));
            requireFewBad(summary);
        }
        return 0;
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    /// The bar of a run, from its first batch on: only then it is known where an earlier run had ended.
    private static final class Bar implements ScoreRun.Progress, AutoCloseable {
        private final Progress.Display display;
        private Progress progress;

        Bar(PrintWriter err) {
            display = Progress.Display.ofStandardError(err);
        }

        @Override
        public void done(int before, int done, int all) {
            if (progress == null) {
                progress = new Progress(display, "score", "pair", before, all);
            }
            progress.to(done);
        }

        @Override
        public void close() {
            if (progress != null) {
                progress.close();
            }
        }
    }

    private void requireFewBad(ScoreRun.Summary summary) throws IOException {
        int all = summary.scored() + summary.problems().size();
        if (summary.problems().size() > maxBadFraction * all) {
            throw new IOException(data + ": " + summary.problems().size() + " of " + all
                    + " pairs could not be scored, more than --max-bad-fraction (" + maxBadFraction
                    + ") allows; smpo data validate lists them. The scores of the others are in " + out);
        }
    }

    private void report(ScoreRun.Summary summary, ScoreTable table) {
        PrintWriter err = spec.commandLine().getErr();
        summary.problems().entrySet().stream()
                .limit(PROBLEMS_SHOWN)
                .forEach(problem -> err.println("smpo: row " + problem.getKey() + ": " + problem.getValue()));
        if (summary.problems().size() > PROBLEMS_SHOWN) {
            err.println("smpo: and " + (summary.problems().size() - PROBLEMS_SHOWN)
                    + " more; smpo data validate lists them");
        }
        err.flush();
        double least = Double.POSITIVE_INFINITY;
        double most = Double.NEGATIVE_INFINITY;
        int first = 0;
        for (int row = 0; row < table.size(); row++) {
            Optional<PairScores> scores = table.scores(row);
            if (scores.isPresent()) {
                least = Math.min(
                        least, Math.min(scores.get().score0(), scores.get().score1()));
                most = Math.max(
                        most, Math.max(scores.get().score0(), scores.get().score1()));
                first += scores.get().score0() > scores.get().score1() ? 1 : 0;
            }
        }
        PrintWriter output = spec.commandLine().getOut();
        output.println(out);
        output.println("pairs: " + summary.scored() + " scored, "
                + summary.problems().size() + " bad"
                + (summary.resumed() > 0 ? ", " + summary.resumed() + " of them in an earlier run" : ""));
        if (summary.scored() > 0) {
            output.printf(
                    Locale.ROOT,
                    "scores: %.6f to %.6f; image 0 is better in %.1f %%%n",
                    least,
                    most,
                    100.0 * first / summary.scored());
        }
        output.flush();
    }
}
