package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import org.smpo.demo.DemoFiles;
import org.smpo.demo.DemoRecipe;
import org.smpo.demo.PreferencePairs;
import org.smpo.demo.SceneSet;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Json;
import org.smpo.reward.ScoreRun;
import picocli.CommandLine;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// `smpo demo`: the whole pipeline on a small model. Each stage is a command line that a person could have typed,
/// and is printed as one; what an earlier process finished is not done again.
@Command(
        name = "demo",
        description = {
            "See the method at work, from pairs to report, on a small model that comes along.",
            "Draws preference pairs of coloured shapes, scores them, tunes the model by SmPO and by DPO, and evaluates"
                    + " all of them on held-out prompts. Stopped, it goes on where it was."
        },
        mixinStandardHelpOptions = true,
        subcommands = Demo.Draw.class,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:the report is written, or the demo was stopped and can be resumed",
            "1:it failed",
            "2:wrong usage"
        })
final class Demo implements Callable<Integer> {
    private static final int FULL_PAIRS = 2500;
    private static final int QUICK_PAIRS = 800;
    private static final int QUICK_DIVISOR = 3;
    private static final int QUICK_PROMPTS = 2;
    private static final int PICTURES = 8;
    private static final int STEPS = 20;
    private static final int GUIDANCE = 4;
    private static final int BATCH = 32;
    private static final String SETTINGS = "demo.json";

    @Spec
    private CommandSpec spec;

    @Option(
            names = "--out",
            paramLabel = "DIR",
            defaultValue = "smpo-demo",
            description = "Folder for everything that is made (default: ${DEFAULT-VALUE}).")
    private Path out;

    @Option(
            names = "--seed",
            paramLabel = "S",
            defaultValue = "0",
            description = "Of the pairs, the runs and the evaluation's noise (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Option(names = "--quick", description = "A version of about two minutes: fewer pairs, steps and prompts.")
    private boolean quick;

    @Option(
            names = "--inversions",
            negatable = true,
            defaultValue = "true",
            fallbackValue = "true",
            description = "Also tune with the inversion of the published code, which the report compares; not with"
                    + " --quick (default: ${DEFAULT-VALUE}).")
    private boolean inversions;

    private int stage;
    private int stages;

    Demo() {}

    @Override
    public Integer call() throws IOException {
        if (Files.exists(out) && !Files.isDirectory(out)) {
            throw new ParameterException(spec.commandLine(), "--out: " + out + ": expected a folder, found a file");
        }
        Files.createDirectories(out);
        requireSame();
        DemoFiles.unpack(out);
        Path prompts = out.resolve("prompts.tsv");
        AtomicFiles.write(prompts, DemoFiles.prompts(quick ? QUICK_PROMPTS : 1));
        List<DemoRecipe> runs = quick || !inversions
                ? List.of(DemoRecipe.SMPO, DemoRecipe.DPO)
                : List.of(DemoRecipe.SMPO, DemoRecipe.DPO, DemoRecipe.SMPO_V020, DemoRecipe.SMPO_V022);
        stages = 3 + runs.size();
        Path pairs = out.resolve("data").resolve(Draw.PAIRS);
        int code = Files.exists(pairs)
                ? done("draw")
                : smpo(
                        "demo",
                        "draw",
                        "--pairs",
                        quick ? QUICK_PAIRS : FULL_PAIRS,
                        "--seed",
                        seed,
                        "--out",
                        pairs.getParent());
        Path scores = out.resolve("scores.parquet");
        Path reward = out.resolve("reward");
        if (code == 0) {
            code = Files.exists(scores)
                    ? done("score")
                    : Files.exists(ScoreRun.journal(scores))
                            ? smpo("score", reward, pairs, "--batch", 32, "--out", scores, "--resume")
                            : smpo("score", reward, pairs, "--batch", 32, "--out", scores);
        }
        for (DemoRecipe run : runs) {
            Path recipe = out.resolve(run.runName() + ".yaml");
            Path folder = out.resolve(run.runName());
            if (code == 0) {
                AtomicFiles.write(recipe, run.text(out, seed, quick ? QUICK_DIVISOR : 1));
                Path cache = out.resolve("cache");
                code = Files.exists(folder.resolve("model"))
                        ? done("train " + run.runName())
                        : Files.exists(folder.resolve("recipe.yaml"))
                                ? smpo("train", recipe, "--cache", cache, "--resume")
                                : smpo("train", recipe, "--cache", cache);
                if (code == 0 && Files.notExists(folder.resolve("model"))) {
                    // Stopped by the user: the run has said so.
                    return 0;
                }
            }
        }
        if (code == 0) {
            List<Object> words = new ArrayList<>(List.of("evaluate", "base=" + out.resolve("model")));
            runs.forEach(run -> words.add(run.runName() + "=" + out.resolve(run.runName())));
            words.addAll(List.of("--prompts", prompts, "--pictures", quick ? 2 : PICTURES, "--seed", seed));
            words.addAll(List.of("--steps", STEPS, "--guidance-scale", GUIDANCE, "--batch", BATCH));
            words.addAll(List.of("--checker", "--reward", "reward=" + reward, "--out", out.resolve("report")));
            code = smpo(words.toArray());
        }
        return code;
    }

    /// Runs a stage.
    private int smpo(Object... arguments) {
        List<String> words = Arrays.stream(arguments).map(Object::toString).toList();
        say("smpo " + String.join(" ", words));
        CommandLine command = spec.commandLine().getParent();
        CommandLine fresh = Main.commandLine().setOut(command.getOut()).setErr(command.getErr());
        int code = fresh.execute(words.toArray(String[]::new));
        if (code != 0) {
            PrintWriter err = spec.commandLine().getErr();
            err.println("smpo: stage " + stage + " of " + stages + " failed; the same command goes on from there");
            err.flush();
        }
        return code;
    }

    private int done(String what) {
        say(what + ": done before");
        return 0;
    }

    private void say(String line) {
        stage++;
        PrintWriter err = spec.commandLine().getErr();
        err.println("[" + stage + "/" + stages + "] " + line);
        err.flush();
    }

    /// A folder holds one demo: figures of two would be mixed otherwise.
    private void requireSame() throws IOException {
        Path file = out.resolve(SETTINGS);
        Map<String, Object> settings = new TreeMap<>();
        settings.put("seed", seed);
        settings.put("quick", quick);
        settings.put("files", DemoFiles.digest());
        String text = Json.canonical(settings);
        if (Files.notExists(file)) {
            AtomicFiles.write(file, text);
        } else if (!Files.readString(file).equals(text)) {
            throw new ParameterException(
                    spec.commandLine(),
                    "--out: " + out + " has a demo with other settings (" + file
                            + "); choose another folder, or remove it");
        }
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
