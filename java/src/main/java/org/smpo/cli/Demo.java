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
    private static final int FULL_PAIRS = 2500;
    private static final int QUICK_PAIRS = 800;
    private static final int QUICK_DIVISOR = 3;
    private static final int QUICK_PROMPTS = 2;
    private static final int IMAGES = 8;
    private static final int QUICK_IMAGES = 2;
    /// Seed offset of the images to build pairs from, so that they share no noise with the evaluation.
    private static final long OWN_SEED = 1_000_000;

    private static final String SAMPLER = "dpmpp_2m";
    private static final int STEPS = 10;
    private static final int GUIDANCE = 1;
    private static final int BATCH = 32;
    private static final String SETTINGS = "demo.json";
    private static final String PROMPTS = "prompts.tsv";
    private static final String OWN_PROMPTS = "own-prompts.tsv";

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
                    + " the reward")
    private boolean ownImages;

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
        unpack(out, quick ? QUICK_PROMPTS : 1);
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
                // Stopped by the user; the stage has printed that.
                return 0;
            }
        }
        return 0;
    }

    /// Writes what the demo starts from. The prompts for tuning come last, so a folder that has them is complete.
    private static void unpack(Path folder, int every) throws IOException {
        DemoFiles.unpack(folder);
        AtomicFiles.write(folder.resolve(PROMPTS), DemoFiles.prompts(every));
        AtomicFiles.write(folder.resolve(OWN_PROMPTS), DemoFiles.tuningPrompts());
    }

    private List<DemoRecipe> runs() {
        List<DemoRecipe> runs = new ArrayList<>(List.of(DemoRecipe.SMPO, DemoRecipe.DPO));
        if (!quick && inversions) {
            runs.add(DemoRecipe.SMPO_V020);
            runs.add(DemoRecipe.SMPO_V022);
        }
        if (ownImages) {
            runs.add(DemoRecipe.SMPO_OWN);
        }
        return runs;
    }

    /// One stage of the demo.
    ///
    /// @param result Path that exists once the stage is done; null if the stage decides for itself whether to run
    /// @param words Words of the command, evaluated when the stage begins
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
                Path images = out.resolve("own-images");
                Path own = out.resolve(DemoRecipe.OWN);
                all.add(new Stage("own images", images.resolve("report.html"), () -> {
                    List<Object> base = List.of("base=" + out.resolve("model"));
                    return evaluate(base, out.resolve(OWN_PROMPTS), OWN_SEED + seed, images);
                }));
                all.add(new Stage(
                        "own pairs",
                        own.resolve(GeneratedPairs.LIST),
                        () -> List.of("data", "pairs", images, "--by", "reward", "--out", own)));
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

    /// Each set of runs has a report of its own, so that none is overwritten.
    private String report() {
        return "report" + (quick || inversions ? "" : "-no-inversions") + (ownImages ? "-own-images" : "");
    }

    private List<Object> evaluate(List<Object> models, Path prompts, long first, Path target) {
        List<Object> words = new ArrayList<>(List.of("evaluate"));
        words.addAll(models);
        words.addAll(List.of("--prompts", prompts, "--images", quick ? QUICK_IMAGES : IMAGES, "--seed", first));
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

    /// A folder holds one demo, so that figures of two are never mixed.
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
                    "--out: " + out + " holds a demo with other settings (" + file
                            + "); choose another folder, or remove this one");
        }
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
                    description = "Number of preference pairs to write to " + PAIRS + " with the columns of Pick-a-Pic:"
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
            List<String> names = ofPairs ? List.of(PAIRS) : List.of(SceneSet.CAPTIONS, SceneSet.IMAGES);
            for (String name : names) {
                if (Files.exists(out.resolve(name))) {
                    throw usage("--out: " + out.resolve(name) + " exists already; remove it or choose another folder");
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
            unpack(out, 1);
            PrintWriter output = spec.commandLine().getOut();
            List.of("model", "reward", PROMPTS, OWN_PROMPTS).forEach(name -> output.println(out.resolve(name)));
            output.flush();
            return 0;
        }
    }
}
