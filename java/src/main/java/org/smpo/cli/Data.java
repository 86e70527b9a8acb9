package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.smpo.data.DataCheck;
import org.smpo.data.DataReport;
import org.smpo.data.PairSource;
import org.smpo.evaluate.GeneratedPairs;
import org.smpo.io.Json;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo data`: what can be done with preference pairs before a run.
@Command(
        name = "data",
        description = "Check preference pairs, or make them of a model's own pictures.",
        mixinStandardHelpOptions = true,
        subcommands = {Data.Validate.class, Data.Pairs.class})
final class Data implements Runnable {
    @Spec
    private CommandSpec spec;

    Data() {}

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing command: validate or pairs");
    }

    /// `smpo data validate`: reads every pair, decodes every image and lists what is wrong.
    @Command(
            name = "validate",
            description = {
                "Read every pair, decode every image, and list what is wrong.",
                "PATH is a folder with pairs.jsonl, Parquet with Pick-a-Pic's columns, tar shards, or a data set that",
                "Hugging Face's save_to_disk wrote; a folder, a file, or several files as 'folder/*.tar'."
            },
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {"0:fine", "1:too many bad pairs, or the data cannot be read", "2:wrong usage"})
    static final class Validate implements Callable<Integer> {
        private static final int PROGRESS = 64 * 100;

        @Spec
        private CommandSpec spec;

        @Parameters(paramLabel = "PATH", description = "The data.")
        private Path path;

        @Option(names = "--json", paramLabel = "FILE", description = "Write the report as JSON, too.")
        private Path json;

        @Option(
                names = "--max-bad-fraction",
                paramLabel = "X",
                defaultValue = "0.05",
                description = "Accept at most this share of bad pairs, 0 to 1 (default: ${DEFAULT-VALUE}).")
        private double maxBadFraction;

        @Option(names = "--threads", paramLabel = "N", description = "Images at a time. Default: all processors.")
        private Integer threads;

        Validate() {}

        @Override
        public Integer call() throws IOException, InterruptedException {
            if (!(maxBadFraction >= 0 && maxBadFraction <= 1)) {
                throw usage("--max-bad-fraction: expected 0 to 1, got " + maxBadFraction);
            }
            if (threads != null && threads < 1) {
                throw usage("--threads: expected 1 or more, got " + threads);
            }
            boolean pattern =
                    path.getFileName() != null && path.getFileName().toString().matches(".*[*?{\\[].*");
            if (!pattern && !Files.exists(path)) {
                throw usage("PATH: " + path + ": expected a data set's folder or file, found nothing");
            }
            Path folder = json == null ? null : json.toAbsolutePath().getParent();
            if (json != null && (folder == null || !Files.isDirectory(folder) || Files.isDirectory(json))) {
                throw usage("--json: " + json + ": expected a file's name in a folder that exists");
            }
            DataReport report;
            try (PairSource source = PairSource.open(path)) {
                int workers = threads == null ? Runtime.getRuntime().availableProcessors() : threads;
                report = DataCheck.run(source, workers, done -> progress(done, source.size()));
            }
            if (json != null) {
                Json.write(json, report.toMap(maxBadFraction));
            }
            PrintWriter out = spec.commandLine().getOut();
            report.lines(maxBadFraction).forEach(out::println);
            out.flush();
            return report.acceptable(maxBadFraction) ? 0 : 1;
        }

        /// A sign of life where a check takes hours.
        private void progress(int done, int all) {
            if (done % PROGRESS == 0) {
                PrintWriter err = spec.commandLine().getErr();
                err.println("smpo: " + done + " of " + all + " records");
                err.flush();
            }
        }

        private ParameterException usage(String message) {
            return new ParameterException(spec.commandLine(), message);
        }
    }

    /// `smpo data pairs`: the best and the worst picture of each prompt of an evaluation.
    @Command(
            name = "pairs",
            description = {
                "Make preference pairs of a model's own pictures: of each prompt the best against the worst.",
                "EVALUATION is a folder of smpo evaluate, with several pictures for each prompt (--pictures) and a"
                        + " reward."
            },
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {"0:written", "1:it failed", "2:wrong usage"})
    static final class Pairs implements Callable<Integer> {
        @Spec
        private CommandSpec spec;

        @Parameters(paramLabel = "EVALUATION", description = "The evaluation's folder.")
        private Path evaluation;

        @Option(
                names = "--by",
                required = true,
                paramLabel = "NAME",
                description = "The reward that says which picture is better, by its name in the evaluation.")
        private String measure;

        @Option(
                names = "--model",
                paramLabel = "NAME",
                description = "Whose pictures, by its name in the evaluation. Default: the first model's.")
        private String model;

        @Option(
                names = "--out",
                required = true,
                paramLabel = "DIR",
                description = "Folder for pairs.jsonl and the pictures; made, or empty.")
        private Path out;

        Pairs() {}

        @Override
        public Integer call() throws IOException {
            if (!Files.isDirectory(evaluation)) {
                throw usage("EVALUATION: " + evaluation + ": expected an evaluation's folder, found "
                        + (Files.exists(evaluation) ? "a file" : "nothing"));
            }
            if (Files.exists(out) && !Files.isDirectory(out)) {
                throw usage("--out: " + out + ": expected a folder, found a file");
            }
            if (Files.exists(out.resolve(GeneratedPairs.LIST))) {
                throw usage("--out: " + out.resolve(GeneratedPairs.LIST)
                        + " is there already; remove it or name another folder");
            }
            GeneratedPairs.Made made;
            try {
                made = GeneratedPairs.write(evaluation, model, measure, out);
            } catch (IllegalArgumentException e) {
                throw usage(e.getMessage());
            }
            PrintWriter output = spec.commandLine().getOut();
            output.println(made.pairs() + " pairs in " + out + ", " + made.ties() + " prompts without one");
            output.flush();
            return 0;
        }

        private ParameterException usage(String message) {
            return new ParameterException(spec.commandLine(), message);
        }
    }
}
