package org.smpo.demo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Json;

/// The stages of the demo, each an `smpo` command.
///
/// @param out folder of the demo
/// @param seed seed of the pairs, the runs and the evaluation's noise
/// @param quick whether to use fewer pairs, steps and prompts
/// @param inversions whether to tune with the inversions of the published code, too; ignored if `quick`
/// @param ownImages whether to tune on pairs of images that the model generated, too
public record DemoStages(Path out, long seed, boolean quick, boolean inversions, boolean ownImages) {
    private static final int FULL_PAIRS = 2500;
    private static final int QUICK_PAIRS = 800;
    private static final int QUICK_DIVISOR = 3;
    private static final int QUICK_PROMPTS = 2;
    private static final int IMAGES = 8;
    private static final int QUICK_IMAGES = 2;

    /// Folder of the only round on the model's own images.
    private static final String ROUND = "round-01";

    private static final String SAMPLER = "dpmpp_2m";
    private static final int STEPS = 10;
    private static final int GUIDANCE = 1;
    private static final int BATCH = 32;
    private static final String SETTINGS = "demo.json";

    /// One stage of the demo.
    ///
    /// @param name name of the stage in messages
    /// @param result path that exists once the stage is done; null if the stage decides for itself
    ///     whether to run
    /// @param words words of the command, evaluated when the stage begins
    public record Stage(String name, Path result, Words words) {
        /// Whether an earlier process finished the stage.
        public boolean isDone() {
            return result != null && Files.exists(result);
        }

        /// Whether the stage has a result that is still missing.
        public boolean isOpen() {
            return result != null && Files.notExists(result);
        }
    }

    /// The words of a command after `smpo`.
    @FunctionalInterface
    public interface Words {
        /// Writes the files that the command reads and returns its words.
        List<Object> get() throws IOException;
    }

    /// Creates the demo's folder with the model, the reward and the prompts.
    ///
    /// @throws IllegalArgumentException when the folder holds a demo with other settings, since figures
    ///     of two demos must not be mixed
    /// @throws IOException when a file cannot be written
    public void prepare() throws IOException {
        Files.createDirectories(out);
        requireSameSettings();
        DemoFiles.unpack(out, quick ? QUICK_PROMPTS : 1);
    }

    private void requireSameSettings() throws IOException {
        Path file = out.resolve(SETTINGS);
        Map<String, Object> settings = new TreeMap<>();
        settings.put("seed", seed);
        settings.put("quick", quick);
        settings.put("files", DemoFiles.digest());
        String text = Json.canonical(settings);
        if (Files.notExists(file)) {
            AtomicFiles.write(file, text);
        } else if (!Files.readString(file).equals(text)) {
            throw new IllegalArgumentException(out + " holds a demo with other settings (" + file
                    + "); choose another folder, or remove this one");
        }
    }

    /// Returns the stages in their order.
    ///
    /// @param journal the journal of an unfinished score file, by the path of that file
    public List<Stage> stages(UnaryOperator<Path> journal) {
        List<DemoRecipe> runs = runs();
        List<Stage> all = new ArrayList<>(List.of(draw(), score(journal)));
        for (DemoRecipe run : runs) {
            all.add(run.ofOwnImages() ? iterate(run) : train(run));
        }
        all.add(new Stage("evaluate", null, () -> {
            List<Object> models = new ArrayList<>(List.of("base=" + out.resolve("model")));
            runs.forEach(run -> models.add(run.runName() + "=" + tuned(run)));
            return evaluate(models, out.resolve(DemoFiles.PROMPTS), seed, out.resolve(report()));
        }));
        return all;
    }

    /// Returns the folder of the training run that made a model.
    private Path tuned(DemoRecipe run) {
        Path folder = out.resolve(run.runName());
        return run.ofOwnImages() ? folder.resolve(ROUND).resolve("run") : folder;
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

    private Path pairs() {
        return out.resolve(DemoRecipe.DRAWN).resolve(PreferencePairs.FILE);
    }

    private Stage draw() {
        int count = quick ? QUICK_PAIRS : FULL_PAIRS;
        return new Stage(
                "draw",
                pairs(),
                () -> List.of("demo", "draw", "--pairs", count, "--seed", seed, "--out", pairs().getParent()));
    }

    private Stage score(UnaryOperator<Path> journal) {
        Path scores = out.resolve("scores.parquet");
        return new Stage("score", scores, () -> {
            List<Object> words = new ArrayList<>(
                    List.of("score", out.resolve("reward"), pairs(), "--batch", BATCH, "--out", scores));
            if (Files.exists(journal.apply(scores))) {
                words.add("--resume");
            }
            return words;
        });
    }

    private Stage iterate(DemoRecipe run) {
        Path folder = out.resolve(run.runName());
        return new Stage("rounds " + run.runName(), folder.resolve(ROUND).resolve("round.json"), () -> {
            Path recipe = out.resolve(run.runName() + ".yaml");
            String generation = "{sampler: %s, steps: %d, guidance_scale: %d, batch: %d}"
                    .formatted(SAMPLER, STEPS, GUIDANCE, BATCH);
            AtomicFiles.write(
                    recipe,
                    run.text(out, seed, quick ? QUICK_DIVISOR : 1) + DemoRecipe.rounds(out, images(), generation));
            return resumed("iterate", recipe, folder.resolve("rounds.yaml"));
        });
    }

    private int images() {
        return quick ? QUICK_IMAGES : IMAGES;
    }

    /// The words of a command that runs a recipe, or resumes what it began.
    ///
    /// @param begun file that is there once it has begun
    private List<Object> resumed(String verb, Path recipe, Path begun) {
        List<Object> words = new ArrayList<>(List.of(verb, recipe, "--cache", out.resolve("cache")));
        if (Files.exists(begun)) {
            words.add("--resume");
        }
        return words;
    }

    private Stage train(DemoRecipe run) {
        Path folder = out.resolve(run.runName());
        return new Stage("train " + run.runName(), folder.resolve("model"), () -> {
            Path recipe = out.resolve(run.runName() + ".yaml");
            AtomicFiles.write(recipe, run.text(out, seed, quick ? QUICK_DIVISOR : 1));
            return resumed("train", recipe, folder.resolve("recipe.yaml"));
        });
    }

    /// Each set of runs has a report of its own, so that none is overwritten.
    private String report() {
        return "report" + (quick || inversions ? "" : "-no-inversions") + (ownImages ? "-own-images" : "");
    }

    private List<Object> evaluate(List<Object> models, Path prompts, long first, Path target) {
        List<Object> words = new ArrayList<>(List.of("evaluate"));
        words.addAll(models);
        words.addAll(List.of("--prompts", prompts, "--images", images(), "--seed", first));
        words.addAll(List.of("--sampler", SAMPLER, "--steps", STEPS, "--guidance-scale", GUIDANCE, "--batch", BATCH));
        words.addAll(List.of("--checker", "--reward", "reward=" + out.resolve("reward"), "--out", target));
        return words;
    }
}
