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
import org.smpo.evaluate.GeneratedPairs;
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
    private static final int QUICK_PICTURES = 2;
    /// The noise of the model's own pictures is not that of the evaluation.
    private static final long OWN_SEED = 1_000_000;

    private static final String SAMPLER = "dpmpp_2m";
    private static final int STEPS = 10;
    private static final int GUIDANCE = 1;
    private static final int BATCH = 32;
    private static final String SETTINGS = "demo.json";
    private static final String PROMPTS = "prompts.tsv";

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

    @Option(
            names = "--own-pictures",
            description = "Also tune on pairs of the model's own pictures, of each prompt the best against the worst by"
                    + " the reward.")
    private boolean ownPictures;

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
        AtomicFiles.write(out.resolve(PROMPTS), DemoFiles.prompts(quick ? QUICK_PROMPTS : 1));
        List<DemoRecipe> runs = runs();
        List<Stage> all = stages(runs);
        stages = all.size();
        for (Stage each : all) {
            if (each.result != null && Files.exists(each.result)) {
                say(each.name + ": done before");
                continue;
            }
            int code = smpo(each.command());
            if (code != 0) {
                return code;
            }
            if (each.result != null && Files.notExists(each.result)) {
                // Stopped by the user: the stage has said so.
                return 0;
            }
        }
        return 0;
    }

    private List<DemoRecipe> runs() {
        List<DemoRecipe> runs = new ArrayList<>(List.of(DemoRecipe.SMPO, DemoRecipe.DPO));
        if (!quick && inversions) {
            runs.add(DemoRecipe.SMPO_V020);
            runs.add(DemoRecipe.SMPO_V022);
        }
        if (ownPictures) {
            runs.add(DemoRecipe.SMPO_OWN);
        }
        return runs;
    }

    /// A part of the demo.
    ///
    /// @param result what is there when it is done; null: it is always run, and finds out itself
    /// @param words of its command, asked for when its turn comes
    private record Stage(String name, Path result, Words words) {
        private Object[] command() throws IOException {
            return words.get().toArray();
        }
    }

    @FunctionalInterface
    private interface Words {
        List<Object> get() throws IOException;
    }

    private List<Stage> stages(List<DemoRecipe> runs) {
        Path pairs = out.resolve(DemoRecipe.DRAWN).resolve(Draw.PAIRS);
        Path scores = out.resolve("scores.parquet");
        Path reward = out.resolve("reward");
        List<Stage> all = new ArrayList<>();
        int count = quick ? QUICK_PAIRS : FULL_PAIRS;
        all.add(new Stage(
                "draw",
                pairs,
                () -> List.of("demo", "draw", "--pairs", count, "--seed", seed, "--out", pairs.getParent())));
        all.add(new Stage("score", scores, () -> {
            List<Object> words = new ArrayList<>(List.of("score", reward, pairs, "--batch", BATCH, "--out", scores));
            if (Files.exists(ScoreRun.journal(scores))) {
                words.add("--resume");
            }
            return words;
        }));
        for (DemoRecipe run : runs) {
            if (run == DemoRecipe.SMPO_OWN) {
                Path drawn = out.resolve("own-pictures");
                Path own = out.resolve(DemoRecipe.OWN);
                all.add(new Stage("own pictures", drawn.resolve("report.html"), () -> {
                    Path prompts = out.resolve("own-prompts.tsv");
                    AtomicFiles.write(prompts, DemoFiles.tuningPrompts());
                    return evaluate(List.of("base=" + out.resolve("model")), prompts, OWN_SEED + seed, drawn);
                }));
                all.add(new Stage(
                        "own pairs",
                        own.resolve(GeneratedPairs.LIST),
                        () -> List.of("data", "pairs", drawn, "--by", "reward", "--out", own)));
            }
            Path folder = out.resolve(run.runName());
            all.add(new Stage("train " + run.runName(), folder.resolve("model"), () -> {
                Path recipe = out.resolve(run.runName() + ".yaml");
                AtomicFiles.write(recipe, run.text(out, seed, quick ? QUICK_DIVISOR : 1));
                List<Object> words = new ArrayList<>(List.of("train", recipe, "--cache", out.resolve("cache")));
                if (Files.exists(folder.resolve("recipe.yaml"))) {
                    words.add("--resume");
                }
                return words;
            }));
        }
        all.add(new Stage("evaluate", null, () -> {
            List<Object> models = new ArrayList<>(List.of("base=" + out.resolve("model")));
            runs.forEach(run -> models.add(run.runName() + "=" + out.resolve(run.runName())));
            return evaluate(models, out.resolve(PROMPTS), seed, out.resolve(report()));
        }));
        return all;
    }

    /// Another set of runs is another report: the first one stays.
    private String report() {
        return "report" + (quick || inversions ? "" : "-no-inversions") + (ownPictures ? "-own-pictures" : "");
    }

    private List<Object> evaluate(List<Object> models, Path prompts, long first, Path target) {
        List<Object> words = new ArrayList<>(List.of("evaluate"));
        words.addAll(models);
        words.addAll(List.of("--prompts", prompts, "--pictures", quick ? QUICK_PICTURES : PICTURES, "--seed", first));
        words.addAll(List.of("--sampler", SAMPLER, "--steps", STEPS, "--guidance-scale", GUIDANCE, "--batch", BATCH));
        words.addAll(List.of("--checker", "--reward", "reward=" + out.resolve("reward"), "--out", target));
        return words;
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
                "The first stage of the demo, by itself."
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
