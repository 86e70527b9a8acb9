package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import org.smpo.demo.DemoFiles;
import org.smpo.demo.DemoStages;
import org.smpo.demo.PreferencePairs;
import org.smpo.demo.SceneSet;
import org.smpo.reward.ScoreRun;
import picocli.CommandLine;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// `smpo demo`: runs the whole pipeline on a small model. Each stage is an `smpo` command, which is printed before it
/// runs; stages that an earlier process finished are skipped.
@Command(
        name = "demo",
        description = {
            "Run the whole pipeline, from pairs to report, on a small model that is included.",
            "Renders preference pairs of coloured shapes, scores them, tunes the model with SmPO and with DPO, and"
                    + " evaluates all models on held-out prompts. If interrupted, rerun the same command to resume."
        },
        mixinStandardHelpOptions = true,
        subcommands = {Demo.Draw.class, Demo.Unpack.class},
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:report written, or the demo was stopped and can be resumed", "1:failure", "2:wrong usage"})
final class Demo implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(
            names = "--out",
            paramLabel = "DIR",
            defaultValue = "smpo-demo",
            description = "Folder for the pairs, runs and report (default: ${DEFAULT-VALUE})")
    private Path out;

    @Option(
            names = "--seed",
            paramLabel = "S",
            defaultValue = "0",
            description = "Seed of the pairs, the runs and the evaluation's noise (default: ${DEFAULT-VALUE})")
    private long seed;

    @Option(names = "--quick", description = "Run a version of about two minutes with fewer pairs, steps and prompts")
    private boolean quick;

    @Option(
            names = "--inversions",
            negatable = true,
            defaultValue = "true",
            fallbackValue = "true",
            description = "Tune with the inversion of the published code, too; ignored with --quick (default:"
                    + " ${DEFAULT-VALUE})")
    private boolean inversions;

    @Option(
            names = {"--own-images", "--own-pictures"},
            description = "Tune on pairs of images that the model generated: per prompt, the best against the worst by"
                    + " the reward, in a round of smpo iterate")
    private boolean ownImages;

    private int stage;
    private int stages;

    Demo() {}

    @Override
    public Integer call() throws IOException {
        if (Files.exists(out) && !Files.isDirectory(out)) {
            throw new ParameterException(spec.commandLine(), "--out: " + out + ": expected a folder, found a file");
        }
        DemoStages demo = new DemoStages(out, seed, quick, inversions, ownImages);
        try {
            demo.prepare();
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), "--out: " + e.getMessage());
        }
        List<DemoStages.Stage> all = demo.stages(ScoreRun::journal);
        stages = all.size();
        for (DemoStages.Stage each : all) {
            if (each.isDone()) {
                say(each.name() + ": done before");
                continue;
            }
            int code = smpo(each.words().get());
            if (code != 0) {
                return code;
            }
            if (each.isOpen()) {
                // Stopped by the user; the stage has printed that.
                return 0;
            }
        }
        return 0;
    }

    /// Runs a stage.
    private int smpo(List<Object> arguments) {
        List<String> words = arguments.stream().map(Object::toString).toList();
        say("smpo " + String.join(" ", words));
        CommandLine command = spec.commandLine().getParent();
        CommandLine fresh = Main.commandLine().setOut(command.getOut()).setErr(command.getErr());
        int code = fresh.execute(words.toArray(String[]::new));
        if (code != 0) {
            PrintWriter err = spec.commandLine().getErr();
            err.println("smpo: stage " + stage + " of " + stages + " failed; rerun the same command to resume from it");
            err.flush();
        }
        return code;
    }

    private void say(String line) {
        stage++;
        PrintWriter err = spec.commandLine().getErr();
        err.println("[" + stage + "/" + stages + "] " + line);
        err.flush();
    }

    /// `smpo demo draw`: renders preference pairs or scenes.
    @Command(
            name = "draw",
            description = {
                "Render scenes of coloured shapes with captions such as \"three red circles\".",
                "This is the first stage of the demo."
            },
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {"0:files written", "1:failure", "2:wrong usage"})
    static final class Draw implements Callable<Integer> {
        private static final int PROGRESS = 1000;

        @Spec
        private CommandSpec spec;

        @ArgGroup(multiplicity = "1")
        private Kind kind;

        @Option(
                names = "--out",
                required = true,
                paramLabel = "DIR",
                description = "Folder for the files; created if missing")
        private Path out;

        @Option(
                names = "--seed",
                paramLabel = "S",
                defaultValue = "0",
                description = "Seed; equal seeds render equal images (default: ${DEFAULT-VALUE})")
        private long seed;

        Draw() {}

        /// What to render.
        private static final class Kind {
            @Option(
                    names = "--pairs",
                    required = true,
                    paramLabel = "N",
                    description = "Number of preference pairs to write to " + PreferencePairs.FILE
                            + " with the columns of Pick-a-Pic:"
                            + " for each caption, a correct image and one with one or two wrong attributes")
            private Integer pairs;

            @Option(
                    names = "--scenes",
                    required = true,
                    paramLabel = "N",
                    description =
                            "Number of images to write to " + SceneSet.IMAGES + " (uint8, [N, 64, 64, 3]), with their"
                                    + " captions in " + SceneSet.CAPTIONS + ", one per line")
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
            List<String> names = ofPairs ? List.of(PreferencePairs.FILE) : List.of(SceneSet.CAPTIONS, SceneSet.IMAGES);
            for (String name : names) {
                if (Files.exists(out.resolve(name))) {
                    throw usage("--out: " + out.resolve(name) + " exists already; remove it or choose another folder");
                }
            }
            Files.createDirectories(out);
            if (ofPairs) {
                PreferencePairs.write(out.resolve(PreferencePairs.FILE), count, seed, progress("pairs", count));
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

    /// `smpo demo unpack`: writes the included models and prompts.
    @Command(
            name = "unpack",
            description = {
                "Write the demo's files: a small text-to-image model, its reward, and prompts for evaluation and"
                        + " tuning.",
                "They serve for experiments of your own."
            },
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {"0:files written", "1:failure", "2:wrong usage"})
    static final class Unpack implements Callable<Integer> {
        @Spec
        private CommandSpec spec;

        @Option(
                names = "--out",
                required = true,
                paramLabel = "DIR",
                description = "Folder for the files; created if missing")
        private Path out;

        Unpack() {}

        @Override
        public Integer call() throws IOException {
            if (Files.exists(out) && !Files.isDirectory(out)) {
                throw new ParameterException(spec.commandLine(), "--out: " + out + ": expected a folder, found a file");
            }
            Files.createDirectories(out);
            DemoFiles.unpack(out, 1);
            PrintWriter output = spec.commandLine().getOut();
            List.of("model", "reward", DemoFiles.PROMPTS, DemoFiles.OWN_PROMPTS)
                    .forEach(name -> output.println(out.resolve(name)));
            output.flush();
            return 0;
        }
    }
}
