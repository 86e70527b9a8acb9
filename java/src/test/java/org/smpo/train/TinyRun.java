package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Digest;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;
import org.smpo.recipe.Recipe;
import org.smpo.report.RunLog;

/// A small model folder and synthetic pairs, with which a run takes a second, and access to the results
/// of runs.
public final class TinyRun {
    private static final int SIDE = 16;

    private final Path root;

    private TinyRun(Path root) {
        this.root = root;
    }

    /// Writes model and data below a folder; existing ones are kept.
    public static TinyRun in(Path root, int pairs) throws IOException {
        TinyRun run = new TinyRun(root);
        if (!Files.exists(run.model())) {
            TinyModels.writeTrainable(run.model());
            writePairs(run.data(), pairs);
        }
        return run;
    }

    /// Returns an existing model and data.
    public static TinyRun at(Path root) {
        return new TinyRun(root);
    }

    public Path model() {
        return root.resolve("model");
    }

    public Path data() {
        return root.resolve("pairs");
    }

    public Path cache() {
        return root.resolve("cache");
    }

    /// Returns the output folder of the named run.
    public Path output(String name) {
        return root.resolve(name);
    }

    /// Winners are brighter on the left than losers; everything else is random.
    private static void writePairs(Path folder, int pairs) throws IOException {
        Files.createDirectories(folder);
        StringBuilder lines = new StringBuilder();
        Philox philox = new Philox(5);
        for (int pair = 0; pair < pairs; pair++) {
            PhiloxStream random = philox.stream(Purpose.BOOTSTRAP, 2, pair);
            int winner = random.nextInt(2);
            for (int which = 0; which < 2; which++) {
                byte[] rgb = new byte[3 * SIDE * SIDE];
                int left = which == winner ? 170 : 40;
                for (int i = 0; i < rgb.length; i++) {
                    boolean isLeft = i / 3 % SIDE < SIDE / 2;
                    rgb[i] = (byte) ((isLeft ? left : 90) + random.nextInt(60));
                }
                new Png(RgbImage.of(SIDE, SIDE, rgb), Map.of()).write(folder.resolve(pair + "_" + which + ".png"));
            }
            lines.append("{\"id\": \"p%1$d\", \"caption\": \"a cat number %1$d\", \"image_0\": \"%1$d_0.png\", "
                    .formatted(pair));
            lines.append("\"image_1\": \"%d_1.png\", \"label\": %d, ".formatted(pair, winner));
            double[] scores = {random.nextDouble(), random.nextDouble()};
            Arrays.sort(scores);
            lines.append("\"score_0\": %s, \"score_1\": %s}%n".formatted(scores[1 - winner], scores[winner]));
        }
        Files.writeString(folder.resolve("pairs.jsonl"), lines);
    }

    /// Returns the text of a SmPO recipe with six steps of three pairs.
    public String yaml(String name) {
        return """
            model: '%s'
            output: '%s'
            seed: 7
            data: {paths: ['%s'], resolution: 16, flip: true, caption_dropout: 0.2, held_out: 2, decode_threads: 2}
            labels: {winner: human, range: data}
            objective: {method: smpo, beta: 2000}
            inversion: {semantics: exact, steps: 2, renoise: last_step}
            train: {steps: 6, pairs_per_step: 3, micro_batch: 2, threads: 1, device: cpu, precision: fp32}
            optimizer: {name: adamw}
            learning_rate: {value: 1e-4, schedule: constant_with_warmup, warmup_steps: 2}
            checkpoint: {every: 2, keep: 2}
            health: {window: 3}
            """.formatted(model(), output(name), data());
    }

    /// Returns that recipe with some keys set.
    public Recipe recipe(String name, String... overrides) throws IOException {
        return Recipe.parse("tiny.yaml", yaml(name), List.of(overrides));
    }

    /// Runs until the end, or until the run stops.
    public TrainingResult run(Recipe recipe, boolean resume, Said said) throws IOException, InterruptedException {
        try (Trainer trainer = Trainer.open(recipe, resume, cache(), said)) {
            said.watch(trainer);
            return trainer.run();
        }
    }

    public TrainingResult run(Recipe recipe) throws IOException, InterruptedException {
        return run(recipe, false, new Said());
    }

    /// Runs until after a step, then resumes in a new trainer until the end.
    public void runInTwo(Recipe recipe, long stop) throws IOException, InterruptedException {
        Said said = new Said();
        said.stopAfter = stop;
        TrainingResult first = run(recipe, false, said);
        if (first.finished() || first.steps() != stop) {
            throw new AssertionError("expected a stop after step " + stop + ", got " + first);
        }
        run(recipe, true, new Said());
    }

    /// Renames a run's folder, so that its recipe, which names the folder, can be run again.
    public void rename(String name, String other) throws IOException {
        Files.move(output(name), output(other));
    }

    /// Returns the reproducible results of a run: digests of its files by name, and the log's events
    /// without times. Excluded are TensorBoard's events, which contain times, and the digests of a
    /// checkpoint's state, which holds the lengths of both logs.
    public Map<String, String> left(String name) throws IOException {
        Map<String, String> files = new TreeMap<>();
        Path output = output(name);
        try (Stream<Path> all = Files.walk(output)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                String relative = output.relativize(file).toString();
                if (relative.equals("log.jsonl")) {
                    files.put(relative, log(name).toString());
                } else if (relative.endsWith("state.json")) {
                    files.put(relative, Files.readString(file).replaceAll("\"(log|board)_bytes\": \\d+", ""));
                } else if (!relative.contains("tfevents") && !relative.matches("checkpoints/.*/manifest.json")) {
                    files.put(relative, Digest.sha256(file));
                }
            }
        }
        return files;
    }

    /// Fails with the names of the files that differ.
    public void assertSame(String name, Map<String, String> expected) throws IOException {
        Map<String, String> found = left(name);
        assertThat(found.keySet()).as(name).isEqualTo(expected.keySet());
        assertThat(found.keySet().stream()
                        .filter(file -> !found.get(file).equals(expected.get(file)))
                        .toList())
                .as("files of " + name + " that differ")
                .isEmpty();
    }

    /// Returns the events without times.
    public List<Map<String, Object>> log(String name) throws IOException {
        List<Map<String, Object>> events = new ArrayList<>();
        for (Map<String, Object> event : RunLog.read(output(name).resolve("log.jsonl"))) {
            Map<String, Object> copy = new LinkedHashMap<>(event);
            copy.remove("time");
            events.add(copy);
        }
        return events;
    }

    /// Returns the losses of a run's steps.
    public double[] losses(String name) throws IOException {
        return log(name).stream()
                .filter(event -> event.get("event").equals("step"))
                .mapToDouble(event -> ((Number) event.get("loss")).doubleValue())
                .toArray();
    }

    /// Records messages, and can stop a run.
    public static final class Said implements Trainer.Listener {
        public final List<String> messages = new ArrayList<>();
        public final List<String> warnings = new ArrayList<>();
        public long stopAfter = -1;
        private Trainer trainer;

        void watch(Trainer watched) {
            trainer = watched;
        }

        @Override
        public void say(String message) {
            messages.add(message);
        }

        @Override
        public void warn(String message) {
            warnings.add(message);
        }

        @Override
        public void stepped(long done, long of, double loss, OptionalDouble implicitAccuracy) {
            if (done == stopAfter) {
                trainer.stop();
            }
        }
    }
}
