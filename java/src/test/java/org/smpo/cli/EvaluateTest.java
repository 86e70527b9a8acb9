package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;
import static org.smpo.cli.Outcome.with;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.network.TinyClip;
import org.smpo.train.TinyRun;

/// `smpo evaluate` as a user runs it, on small models with made-up weights.
final class EvaluateTest {
    @TempDir
    private Path temporary;

    private Path prompts(String name, String text) throws IOException {
        return Files.writeString(temporary.resolve(name), text);
    }

    /// A run's folder, its base model with the adapters of another run, and the base model itself.
    @Test
    void foldersAdaptersAndRunsAreCompared() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe("run", "train.steps=2", "checkpoint.every=none"));
        tiny.run(tiny.recipe(
                "lora",
                "train.steps=2",
                "checkpoint.every=none",
                "train.weights.type=lora",
                "train.weights.rank=2",
                "export.formats=[lora_peft]"));
        Path adapters = tiny.output("lora").resolve("pytorch_lora_weights.safetensors");
        Path clip = TinyClip.write(temporary.resolve("clip"), "vit_h", 1);
        Path table = prompts("p.tsv", "Prompt\tCategory\tChallenge\na cat\tAnimals\tx\na red house\tPlaces\ty\n");
        Path out = temporary.resolve("out");
        Object[] evaluate = {
            "evaluate",
            "base=" + tiny.model(),
            tiny.output("run"),
            "adapted=" + tiny.output("lora"),
            "by hand=" + tiny.model() + "+" + adapters + ":1",
            "half=" + tiny.model() + "+" + adapters + ":0.5",
            "--prompts",
            table,
            "--reward",
            "tiny=" + clip,
            "--steps",
            2,
            "--resamples",
            100,
            "--threads",
            1,
            "--out",
            out
        };
        Outcome done = smpo(evaluate);
        assertThat(done.code()).as(done.err()).isZero();
        assertThat(done.err()).contains("generate", "score tiny", "100%");
        assertThat(done.out())
                .contains("tiny: run against base: ", out.resolve("report.html").toString());
        // A run that exported only adapters is evaluated as its base model with them.
        assertThat(done.out()).contains("tiny: by hand against adapted: +0.0000 [+0.0000, +0.0000], wins 50.0 %");
        JsonObject json = Json.readObject(out.resolve("report.json"));
        List<JsonObject> models = json.object("evaluation").objects("models");
        assertThat(models.stream().map(model -> model.asMap().get("name")))
                .containsExactly("base", "run", "adapted", "by hand", "half");
        assertThat(models.get(2).string("sha256")).isEqualTo(models.get(3).string("sha256"));
        assertThat(models.stream().map(model -> model.asMap().get("sha256")).distinct())
                .hasSize(4);
        assertThat(json.string("command")).startsWith("smpo evaluate ").contains("'by hand=", "--steps 2");
        String html = Files.readString(out.resolve("report.html"));
        assertThat(html).contains(">Training</h2>", "Animals", "Places", "method: smpo");
        Outcome again = smpo(evaluate);
        assertThat(again.code()).isZero();
        assertThat(again.err()).doesNotContain("draw");
        Outcome other = smpo(with(evaluate, "--guidance-scale", 2));
        assertThat(other.code()).isEqualTo(1);
        assertThat(other.err()).contains("another drawing.guidance_scale (7.5, now 2.0)");
    }

    /// A process that is killed while it generates images resumes without generating them again, and writes the same
    /// files.
    @Test
    @Timeout(300)
    void aKilledProcessIsResumed() throws IOException, InterruptedException {
        Path model = TinyModels.writeTrainable(temporary.resolve("model"));
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 60; i++) {
            lines.append("a cat number ").append(i).append('\n');
        }
        Path texts = prompts("p.txt", lines.toString());
        Path clip = TinyClip.write(temporary.resolve("clip"), "vit_h", 1);
        Path out = temporary.resolve("out");
        Object[] evaluate = {
            "evaluate",
            "a=" + model,
            "b=" + model,
            "--prompts",
            texts,
            "--reward",
            clip,
            "--steps",
            2,
            "--batch",
            3,
            "--resamples",
            50,
            "--threads",
            1,
            "--gallery",
            2,
            "--out",
            out
        };
        Outcome whole = smpo(evaluate);
        assertThat(whole.code()).as(whole.err()).isZero();
        assertThat(whole.out()).contains("reward: b against a: +0.0000 [+0.0000, +0.0000], wins 50.0 % [50.0, 50.0]");
        Map<String, String> expected = left(out);
        assertThat(expected).hasSize(127);
        Files.move(out, temporary.resolve("whole"));

        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-Dsmpo.library=" + System.getProperty("smpo.library"),
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName()));
        Arrays.stream(evaluate).map(Object::toString).forEach(command::add);
        Process child = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(temporary.resolve("child.log").toFile())
                .start();
        Path journal = out.resolve("journal.jsonl");
        while (child.isAlive() && (Files.notExists(journal) || Files.size(journal) < 3_000)) {
            Thread.sleep(2);
        }
        child.destroyForcibly();
        assertThat(child.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(journal).as(Files.readString(temporary.resolve("child.log"))).exists();
        assertThat(out.resolve("report.html")).doesNotExist();
        byte[] first = Files.readAllBytes(journal);
        Outcome rest = smpo(evaluate);
        assertThat(rest.code()).as(rest.err()).isZero();
        assertThat(left(out)).isEqualTo(expected);
        // The journal's entries are unchanged.
        int lastLine = first.length;
        while (first[lastLine - 1] != '\n') {
            lastLine--;
        }
        assertThat(Files.readAllBytes(journal)).startsWith(Arrays.copyOf(first, lastLine));
    }

    private static Map<String, String> left(Path folder) throws IOException {
        Map<String, String> files = new TreeMap<>();
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                String name = folder.relativize(file).toString();
                if (!name.equals("journal.jsonl") && !name.equals(".lock")) {
                    files.put(name, Digest.sha256(file));
                }
            }
        }
        return files;
    }

    @Test
    void wrongUsageIsNamed() throws IOException {
        Path model = TinyModels.writeTrainable(temporary.resolve("model"));
        Path texts = prompts("p.txt", "a cat\n");
        Path out = temporary.resolve("out");
        Object[] evaluate = {"evaluate", model, "--prompts", texts, "--out", out};
        assertWrong("expected a metric: --reward, --checker or both", evaluate);
        Object[] checked = with(evaluate, "--checker");
        assertWrong("checker: expected the demo's images of 64x64, got images of 16x16", checked);
        assertWrong(
                "checker: prompt 1: expected one of the demo's captions", with(checked, "--width", 64, "--height", 64));
        assertWrong("--sampler: expected ddim, euler", with(checked, "--sampler", "magic"));
        assertWrong("--precision: expected one of fp32, bf16, got fp8", with(checked, "--precision", "fp8"));
        assertWrong("device: expected auto, cpu, cuda or cuda:N, got tpu", with(checked, "--device", "tpu"));
        assertWrong("batch: expected 1 or more, got 0", with(checked, "--batch", 0));
        assertWrong("--limit: expected 1 or more, got 0", with(checked, "--limit", 0));
        assertWrong("images per prompt: expected 1 or more, got 0", with(checked, "--images", 0));
        assertWrong("images per prompt: expected 1 or more, got 0", with(checked, "--pictures", 0));
        assertWrong("reward x=" + temporary.resolve("no"), with(evaluate, "--reward", "x=" + temporary.resolve("no")));
        assertWrong("a second model", "evaluate", model, model, "--prompts", texts, "--checker", "--out", out);
        assertWrong(
                "MODEL: " + temporary.resolve("no") + ": expected a folder or a file, found nothing",
                "evaluate",
                "x=" + temporary.resolve("no"),
                "--prompts",
                texts,
                "--checker",
                "--out",
                out);
        assertWrong(
                "expected LORA:WEIGHT, got the weight much",
                "evaluate",
                "x=" + model + "+" + texts + ":much",
                "--prompts",
                texts,
                "--checker",
                "--out",
                out);
        assertThat(out).doesNotExist();
        Path unfinished = Files.createDirectories(temporary.resolve("run"));
        Files.writeString(
                unfinished.resolve("recipe.yaml"), TinyRun.at(temporary).yaml("run"));
        Outcome early = smpo("evaluate", unfinished, "--prompts", texts, "--checker", "--out", out);
        assertThat(early.code()).isEqualTo(1);
        assertThat(early.err()).contains("the run is not finished; resume it with smpo train --resume");
    }

    private static void assertWrong(String message, Object... arguments) {
        Outcome outcome = smpo(arguments);
        assertThat(outcome.err()).contains(message);
        assertThat(outcome.code()).as(message).isEqualTo(2);
    }
}
