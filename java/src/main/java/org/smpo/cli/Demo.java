package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import org.smpo.demo.PreferencePairs;
import org.smpo.demo.SceneSet;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// `smpo demo`: the demo's stages.
@Command(
        name = "demo",
        description = {
            "The demo: preference tuning of a small model on drawn scenes.",
            "So far its first stage, which draws the data."
        },
        mixinStandardHelpOptions = true,
        subcommands = Demo.Draw.class)
final class Demo implements Runnable {
    @Spec
    private CommandSpec spec;

    Demo() {}

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing command: draw");
    }

    /// `smpo demo draw`: writes drawn preference pairs, or drawn scenes.
    @Command(
            name = "draw",
            description = {
                "Draw scenes of coloured shapes with captions such as \"three red circles\".",
                "The first stage of the demo; the others are not there yet."
            },
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {"0:written", "1:it failed", "2:wrong usage"})
    static final class Draw implements Callable<Integer> {
        private static final String PAIRS = "pairs.parquet";
        private static final int PROGRESS = 1000;

        @Spec
        private CommandSpec spec;

        @ArgGroup(multiplicity = "1")
        private Kind kind;

        @Option(
                names = "--out",
                required = true,
                paramLabel = "DIR",
                description = "Folder for the files; made if it is not there.")
        private Path out;

        @Option(
                names = "--seed",
                paramLabel = "S",
                defaultValue = "0",
                description = "Equal seeds draw equal pictures (default: ${DEFAULT-VALUE}).")
        private long seed;

        Draw() {}

        /// What is drawn.
        private static final class Kind {
            @Option(
                    names = "--pairs",
                    required = true,
                    paramLabel = "N",
                    description =
                            "Write N preference pairs to " + PAIRS + ", with Pick-a-Pic's columns: for one caption"
                                    + " a right picture and one with one or two attributes wrong.")
            private Integer pairs;

            @Option(
                    names = "--scenes",
                    required = true,
                    paramLabel = "N",
                    description = "Write N pictures to " + SceneSet.PICTURES + " (uint8, [N, 64, 64, 3]) and their"
                            + " captions to " + SceneSet.CAPTIONS + ", one a line.")
            private Integer scenes;

            private Kind() {}
        }

        @Override
        public Integer call() throws IOException {
            boolean ofPairs = kind.pairs != null;
            int count = ofPairs ? kind.pairs : kind.scenes;
            if (count < 1) {
                throw usage((ofPairs ? "--pairs" : "--scenes") + ": expected 1 or more, got " + count);
            }
            if (Files.exists(out) && !Files.isDirectory(out)) {
                throw usage("--out: " + out + ": expected a folder, found a file");
            }
            List<String> names = ofPairs ? List.of(PAIRS) : List.of(SceneSet.CAPTIONS, SceneSet.PICTURES);
            for (String name : names) {
                if (Files.exists(out.resolve(name))) {
                    throw usage("--out: " + out.resolve(name) + " is there already; remove it or name another folder");
                }
            }
            Files.createDirectories(out);
            if (ofPairs) {
                PreferencePairs.write(out.resolve(PAIRS), count, seed, progress("pairs", count));
            } else {
                SceneSet.write(out, count, seed, progress("scenes", count));
            }
            PrintWriter output = spec.commandLine().getOut();
            names.forEach(name -> output.println(out.resolve(name)));
            output.flush();
            return 0;
        }

        private IntConsumer progress(String what, int all) {
            PrintWriter err = spec.commandLine().getErr();
            return done -> {
                if (done % PROGRESS == 0 || done == all) {
                    err.print("\rsmpo: " + done + " of " + all + " " + what + (done == all ? "\n" : ""));
                    err.flush();
                }
            };
        }

        private ParameterException usage(String message) {
            return new ParameterException(spec.commandLine(), message);
        }
    }
}
