package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.smpo.data.DataCheck;
import org.smpo.data.DataReport;
import org.smpo.data.PairSource;
import org.smpo.io.Json;
import org.smpo.io.Rendering;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo data`: checks, builds and weighs preference pairs before a run.
@Command(
        name = "data",
        description = "Check preference pairs, build them from images that a model generated, or weigh them.",
        mixinStandardHelpOptions = true,
        subcommands = {Data.Validate.class, DataPairs.class, DataWeigh.class})
final class Data implements Runnable {
    @Spec
    private CommandSpec spec;

    Data() {}

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing command: validate, pairs or weigh");
    }

    /// `smpo data validate`: reads every pair, decodes every image and lists the problems.
    @Command(
            name = "validate",
            description = {
                "Read every pair, decode every image, and list the problems.",
                "PATH is a folder with pairs.jsonl, Parquet with the columns of Pick-a-Pic, tar shards, or a dataset",
                "that Hugging Face's save_to_disk wrote: a folder, a file, or a pattern such as 'folder/*.tar'."
            },
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {
                "0:no problem beyond the tolerated fraction",
                "1:too many bad pairs, or unreadable data",
                "2:wrong usage"
            })
    static final class Validate implements Callable<Integer> {
        private static final int PROGRESS = 64 * 100;

        @Spec
        private CommandSpec spec;

        @Parameters(paramLabel = "PATH", description = "Dataset to check")
        private Path path;

        @Option(names = "--split", paramLabel = "NAME", description = OptionTexts.SPLIT)
        private String split;

        @Option(names = "--json", paramLabel = "FILE", description = "File to write the report to as JSON")
        private Path json;

        @Option(
                names = "--max-bad-fraction",
                paramLabel = "X",
                defaultValue = "0.05",
                description = OptionTexts.MAX_BAD_FRACTION)
        private double maxBadFraction;

        @Option(
                names = "--threads",
                paramLabel = "N",
                description = "Number of decoding threads (default: one per logical core)")
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
                throw usage("PATH: " + path + ": expected the folder or file of a dataset, found nothing");
            }
            Path folder = json == null ? null : json.toAbsolutePath().getParent();
            if (json != null && (folder == null || !Files.isDirectory(folder) || Files.isDirectory(json))) {
                throw usage("--json: " + json + ": expected a file's name in a folder that exists");
            }
            DataReport report;
            try (PairSource source = PairSource.open(path, Optional.ofNullable(split), Rendering.VIEWER)) {
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

        /// Progress of a check, which may take hours.
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
}
