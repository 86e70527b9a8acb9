package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;
import static org.smpo.cli.Outcome.with;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.train.TinyRun;

/// `smpo train` as a user runs it, on a small model with made-up weights.
final class TrainTest {
    @TempDir
    private Path temporary;

    @Test
    void triesThenRunsOnceOnly() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Path recipe = Files.writeString(temporary.resolve("recipe.yaml"), tiny.yaml("run"));
        Object[] train = {"train", recipe, "--cache", tiny.cache()};
        Outcome tried = smpo(with(train, "--dry-run"));
        assertThat(tried.code()).as(tried.err()).isZero();
        assertThat(tried.out())
                .contains("pairs_per_step: 3", "pairs to train on    7 (2 held out)", "a step  ", "host tensors");
        assertThat(tiny.output("run")).doesNotExist();

        Outcome wrong = smpo(with(train, "--set", "train.step=3"));
        assertThat(wrong.code()).isEqualTo(2);
        assertThat(wrong.err()).startsWith("--set train.step").contains("steps").hasLineCount(1);
        Outcome quoted = smpo(with(train, "--set", "checkpoint.every=\"none\""));
        assertThat(quoted.code()).isEqualTo(2);
        assertThat(quoted.err()).contains("expected none or", "found \"none\" in quotes");
        assertThat(tiny.output("run")).doesNotExist();

        Outcome done = smpo(train);
        assertThat(done.code()).as(done.err()).isZero();
        assertThat(done.out().strip())
                .isEqualTo(tiny.output("run").resolve("model").toString());
        Outcome again = smpo(train);
        assertThat(again.code()).isEqualTo(1);
        assertThat(again.err()).contains("has a run already", "--resume");
    }

    @Test
    void doraWeighsThePairsOfAStep() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Path recipe = Files.writeString(temporary.resolve("recipe.yaml"), tiny.yaml("run"));
        Outcome outcome = smpo(
                "train",
                recipe,
                "--cache",
                tiny.cache(),
                "--set",
                "objective={method: dpo, beta: 500, dora: {lambda: 0.5}}",
                "--set",
                "inversion=none");
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(Files.readString(tiny.output("run").resolve("log.jsonl")))
                .contains("\"weighted_loss\"", "\"effective_pairs\"");
    }

    @Test
    void imagesWithThumbsUpAndDownTrain() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        StringBuilder lines = new StringBuilder();
        for (int image = 0; image < 9; image++) {
            lines.append("{\"file_name\": \"%d_0.png\", \"text\": \"a cat\", \"label\": %b}%n"
                    .formatted(image, image % 2 == 0));
        }
        Files.writeString(tiny.data().resolve("metadata.jsonl"), lines);
        Path recipe = Files.writeString(temporary.resolve("recipe.yaml"), tiny.yaml("run"));
        Object[] train = {
            "train",
            recipe,
            "--cache",
            tiny.cache(),
            "--set",
            "objective={method: kto, beta: 500}",
            "--set",
            "inversion=none",
            "--set",
            "labels.range=published",
            "--set",
            "data={paths: ['" + tiny.data() + "'], resolution: 16, images: single}"
        };
        Outcome outcome = smpo(train);
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.out()).endsWith(tiny.output("run").resolve("model") + "\n");
        Outcome refused = smpo(with(train, "--set", "objective={method: dpo, beta: 500}"));
        assertThat(refused.code()).isEqualTo(2);
        assertThat(refused.err()).contains("data.images");
    }

    @Test
    void aRunThatEndsItselfFails() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Path recipe = Files.writeString(temporary.resolve("recipe.yaml"), tiny.yaml("run"));
        Outcome diverged = smpo(
                "train",
                recipe,
                "--cache",
                tiny.cache(),
                "--set",
                "train.steps=30",
                "--set",
                "learning_rate={value: 3e-3, warmup_steps: 0}");
        assertThat(diverged.code()).isEqualTo(1);
        assertThat(diverged.out()).contains("the loss is diverging");
        assertThat(tiny.output("run").resolve("model")).doesNotExist();
    }

    /// A child process receives SIGTERM during its run.
    @Test
    @Timeout(120)
    void aRequestToEndTakesEffectAfterTheStep() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Path recipe = Files.writeString(temporary.resolve("recipe.yaml"), tiny.yaml("run"));
        Object[] train = {
            "train", recipe, "--cache", tiny.cache(), "--set", "train.steps=100000", "--set", "checkpoint.every=none"
        };
        Process process = Outcome.start(train);
        Path log = tiny.output("run").resolve("log.jsonl");
        while (process.isAlive() && (!Files.exists(log) || Files.size(log) == 0)) {
            Thread.sleep(20);
        }
        // SIGTERM, as a scheduler sends it.
        process.toHandle().destroy();
        StringBuilder text = new StringBuilder();
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            out.lines().forEach(line -> text.append(line).append('\n'));
        }
        assertThat(process.waitFor()).as(text.toString()).isEqualTo(143);
        assertThat(text.toString()).contains("on request", "the newest checkpoint is");
        try (var checkpoints = Files.list(tiny.output("run").resolve("checkpoints"))) {
            assertThat(checkpoints).hasSize(1);
        }
        Process resumed = Outcome.start(with(train, "--resume"));
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(resumed.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = out.readLine(); line != null; line = out.readLine()) {
                text.append(line).append('\n');
                if (line.contains("resuming after step ")) {
                    resumed.toHandle().destroy();
                }
            }
        }
        assertThat(text).contains("resuming after step ");
    }
}
