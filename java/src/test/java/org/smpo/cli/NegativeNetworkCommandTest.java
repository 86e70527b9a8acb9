package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;
import static org.smpo.cli.Outcome.with;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.checkpoint.Weight;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Png;
import org.smpo.network.TinyClip;
import org.smpo.train.TinyRun;
import org.smpo.train.TrainingResult;

/// Negative networks as a user trains and uses them: `train` with reversed labels, `generate
/// --negative-model`, `evaluate MODEL~NEGATIVE`.
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class NegativeNetworkCommandTest {
    private Path temporary;
    private TinyRun tiny;
    private Path adapters;

    /// A run of adapters away from the winners, with large steps.
    @BeforeAll
    void train(@TempDir Path folder) throws IOException, InterruptedException {
        temporary = folder;
        tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe(
                "npo",
                "objective={method: dpo, beta: 2000}",
                "inversion=none",
                "seed=0",
                "labels.reversed=true",
                "train.steps=3",
                "train.weights={type: lora, rank: 2}",
                "learning_rate={value: 0.05, schedule: constant, warmup_steps: 0}",
                "checkpoint.every=none",
                "samples={every: 3, prompts: [a cat], steps: 2}",
                "export.formats=[lora_peft]"));
        adapters = tiny.output("npo").resolve("pytorch_lora_weights.safetensors");
    }

    /// Self-NPO needs no preferences: its built-in recipe trains on images, and the run is used like the
    /// other.
    @Test
    void selfNpoTrainsANegativeNetworkFromImages() throws IOException {
        Path out = temporary.resolve("selfnpo");
        Path recipe =
                Files.writeString(temporary.resolve("selfnpo.yaml"), """
                    base: selfnpo-sd15
                    model: '%s'
                    output: '%s'
                    data: {paths: ['%s'], resolution: 16}
                    train: {steps: 2, pairs_per_step: 3, threads: 1, device: cpu, precision: fp32}
                    learning_rate: {value: 0.05}
                    """.formatted(tiny.model(), out, tiny.data()));
        Outcome tried = smpo("train", recipe, "--cache", tiny.cache(), "--dry-run");
        assertThat(tried.code()).as(tried.err()).isZero();
        Outcome done = smpo("train", recipe, "--cache", tiny.cache());
        assertThat(done.code()).as(done.err()).isZero();
        assertThat(out.resolve("manifest.json")).content().contains("\"role\": \"negative\"");
        byte[] plain = image("selfnpo-plain");
        assertThat(image("selfnpo-used", "--negative-model", out)).isNotEqualTo(plain);
        Outcome refused = smpo("train", recipe, "--cache", tiny.cache(), "--set", "objective.rollout_steps=0");
        assertThat(refused.code()).isEqualTo(2);
        assertThat(refused.err()).contains("objective.rollout_steps: expected an integer of 1 or more, got 0");
    }

    private Object[] generate(String name, Object... more) {
        return with(
                new Object[] {
                    "generate",
                    tiny.model(),
                    "--prompt",
                    "a cat",
                    "--steps",
                    2,
                    "--threads",
                    1,
                    "--out",
                    temporary.resolve(name)
                },
                more);
    }

    private byte[] image(String name, Object... more) throws IOException {
        Outcome outcome = smpo(generate(name, more));
        assertThat(outcome.code()).as(outcome.err()).isZero();
        return png(name).image().rgb();
    }

    private Png png(String name) throws IOException {
        return Png.read(temporary.resolve(name).resolve("00000-0.png"));
    }

    @Test
    void aRunAwayFromTheWinnersIsANegativeNetwork() throws IOException {
        assertThat(Json.readObject(tiny.output("npo").resolve("manifest.json")).string("role"))
                .isEqualTo("negative");
        byte[] plain = image("plain");
        byte[] guided = image("guided", "--negative-model", tiny.output("npo"));
        assertThat(guided).isNotEqualTo(plain);
        assertThat(image("by hand", "--negative-model", tiny.model() + "+" + adapters))
                .isEqualTo(guided);
        assertThat(image("lora", "--negative-lora", adapters)).isEqualTo(guided);
        assertThat(image("weight", "--negative-lora", adapters + ":1")).isEqualTo(guided);
        assertThat(image("none", "--negative-lora", adapters + ":0")).isNotEqualTo(guided);
        assertThat(image("prompt", "--negative-lora", adapters, "--negative-condition", "prompt"))
                .isNotEqualTo(guided);
        JsonObject settings = Json.parseObject("png", png("guided").text().get("smpo"));
        assertThat(settings.string("negative_model")).isEqualTo("npo");
        assertThat(settings.string("negative_condition")).isEqualTo("empty");
        assertThat(png("plain").text().get("smpo")).doesNotContain("negative_model", "negative_condition");
        assertThat(png("prompt").text().get("parameters")).contains("Negative condition: prompt");
    }

    /// `--lora` changes both sides: the negative network is the model with its adapters and the negative
    /// ones.
    @Test
    void negativeLorasAddToTheModels() throws IOException {
        byte[] both = image("a", "--lora", adapters, "--lora-weight", 0.5, "--negative-lora", adapters + ":0.5");
        byte[] model = image(
                "b",
                "--lora",
                adapters,
                "--lora-weight",
                0.5,
                "--negative-model",
                tiny.model() + "+" + adapters + ":1");
        assertThat(largestDifference(both, model)).isLessThanOrEqualTo(1);
        byte[] without = image("c", "--lora", adapters, "--lora-weight", 0.5, "--negative-model", tiny.model());
        assertThat(largestDifference(both, without)).isGreaterThan(1);
    }

    /// The samples of such a run are the images of `generate` with the policy as the negative network,
    /// whether adapters are trained or all weights.
    @Test
    void theSamplesOfTheRunShowItAsTheNegativeNetwork() throws IOException, InterruptedException {
        TrainingResult full = tiny.run(tiny.recipe(
                "full",
                "objective={method: npo, beta: 100}",
                "inversion=none",
                "seed=0",
                "train.steps=3",
                "learning_rate={value: 0.002, schedule: constant, warmup_steps: 0}",
                "checkpoint.every=none",
                "samples={every: 3, prompts: [a cat], steps: 2}"));
        assertThat(full.finished()).as(full.toString()).isTrue();
        byte[] plain = image("16", "--negative-prompt", "", "--height", 16, "--width", 16);
        for (String run : List.of("npo", "full")) {
            Png sample = sample(run);
            assertThat(sample.text())
                    .containsEntry("negative_model", "policy")
                    .containsEntry("negative_condition", "empty");
            byte[] generated = image(
                    "16 " + run,
                    "--negative-model",
                    tiny.output(run),
                    "--negative-prompt",
                    "",
                    "--height",
                    16,
                    "--width",
                    16);
            assertThat(largestDifference(sample.image().rgb(), generated))
                    .as(run)
                    .isLessThanOrEqualTo(1);
            assertThat(largestDifference(sample.image().rgb(), plain)).as(run).isGreaterThan(1);
        }
        tiny.run(tiny.recipe(
                "policy",
                "objective={method: npo, beta: 2000}",
                "inversion=none",
                "seed=0",
                "train.steps=1",
                "checkpoint.every=none",
                "samples={every: 1, prompts: [a cat], steps: 2, draws: policy}"));
        assertThat(sample("policy").text()).doesNotContainKey("negative_model");
    }

    private Png sample(String run) throws IOException {
        try (Stream<Path> files = Files.walk(tiny.output(run).resolve("samples"))) {
            return Png.read(files.filter(file -> file.toString().endsWith(".png"))
                    .findFirst()
                    .orElseThrow());
        }
    }

    @Test
    void wrongUsage() throws IOException {
        Path text = temporary.resolve("text.safetensors");
        String module = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj";
        Weight.writeAll(
                text,
                List.of(
                        TinyModels.weight(module + ".lora_A.weight", List.of(2L, 20L)),
                        TinyModels.weight(module + ".lora_B.weight", List.of(20L, 2L))),
                null,
                Map.of());
        refused(
                2,
                "--negative-lora: expected no --negative-model beside it",
                "--negative-model",
                tiny.model(),
                "--negative-lora",
                adapters);
        refused(
                2,
                "--guidance-scale: expected above 1 with a negative network, which 1 never evaluates, got 1.0",
                "--negative-model",
                tiny.model(),
                "--guidance-scale",
                1);
        refused(
                2,
                "--negative-condition: expected a negative network, which it conditions, got none",
                "--negative-condition",
                "prompt");
        refused(
                2,
                "--negative-condition: expected one of empty, prompt, got text",
                "--negative-model",
                tiny.model(),
                "--negative-condition",
                "text");
        refused(
                2,
                "--negative-condition: prompt takes the place of a negative prompt; expected no negative prompt, got"
                        + " \"ugly\"",
                "--negative-model",
                tiny.model(),
                "--negative-condition",
                "prompt",
                "--negative-prompt",
                "ugly");
        refused(
                2,
                "--negative-model: nowhere: expected a folder or a file, found nothing",
                "--negative-model",
                "nowhere");
        refused(
                2,
                "--negative-lora: " + adapters + ":much: expected LORA:WEIGHT, got the weight much",
                "--negative-lora",
                adapters + ":much");
        refused(1, "negative LoRA: expected modules of the UNet", "--negative-lora", text);
        Path other = TinyModels.writeTrainable(temporary.resolve("other"));
        Path scheduler = other.resolve("scheduler/scheduler_config.json");
        Files.writeString(scheduler, Files.readString(scheduler).replace("epsilon", "v_prediction"));
        refused(
                1,
                "negative model: prediction_type: expected epsilon as the model's, found v_prediction",
                "--negative-model",
                other);
    }

    private void refused(int code, String message, Object... more) {
        Outcome outcome = smpo(generate("refused", more));
        assertThat(outcome.err()).contains(message);
        assertThat(outcome.code()).isEqualTo(code);
    }

    @Test
    void aNegativeNetworkAsAModelIsWarnedOf() {
        String warning = "was trained to be a negative network: give it as --negative-model, or NAME=MODEL~"
                + tiny.output("npo");
        Outcome outcome = smpo(generate("warned", "--lora", adapters));
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.err()).contains("smpo: " + adapters + ": " + warning);
        assertThat(smpo(generate("quiet", "--negative-lora", adapters)).err()).doesNotContain(warning);
    }

    @Test
    void modelsAreEvaluatedWithNegativeNetworks() throws IOException {
        Path clip = TinyClip.write(temporary.resolve("clip"), "vit_h", 1);
        Path table = Files.writeString(temporary.resolve("p.txt"), "a cat\na red house\n");
        Path out = temporary.resolve("evaluation");
        Path run = tiny.output("npo");
        Object[] evaluate = {
            "evaluate",
            "base=" + tiny.model(),
            "npo=" + tiny.model() + "~" + run,
            "added=" + tiny.model() + "~+" + adapters,
            "alone=" + run,
            "self=" + tiny.model() + "~" + tiny.model(),
            "--prompts",
            table,
            "--reward",
            "tiny=" + clip,
            "--steps",
            2,
            "--resamples",
            50,
            "--threads",
            1
        };
        Outcome done = smpo(with(evaluate, "--out", out));
        assertThat(done.code()).as(done.err()).isZero();
        assertThat(done.err())
                .contains("smpo: " + run + ": was trained to be a negative network")
                .doesNotContain("smpo: " + tiny.model() + ": was trained");
        List<JsonObject> models =
                Json.readObject(out.resolve("report.json")).object("evaluation").objects("models");
        assertThat(models.get(0).has("negative_model")).isFalse();
        assertThat(models.get(1).object("negative_model").string("name")).isEqualTo("npo");
        assertThat(models.get(1).object("negative_model").string("condition")).isEqualTo("empty");
        assertThat(models.get(1).object("negative_model").string("sha256"))
                .hasSize(64)
                .isNotEqualTo(models.get(4).object("negative_model").string("sha256"));
        assertThat(models.stream().map(model -> model.asMap().get("sha256")).distinct())
                .hasSize(4);
        assertThat(models.get(2).string("sha256"))
                .as("the same network, named otherwise")
                .isEqualTo(models.get(1).string("sha256"));
        String html = Files.readString(out.resolve("report.html"));
        assertThat(html).contains("negative network: npo, condition: empty");
        byte[] base =
                Png.read(out.resolve("pictures/0-base/00000-0.png")).image().rgb();
        Png npo = Png.read(out.resolve("pictures/1-npo/00000-0.png"));
        assertThat(npo.image().rgb()).isNotEqualTo(base);
        assertThat(npo.text().get("smpo")).contains("\"negative_model\": \"npo\"");
        assertThat(Png.read(out.resolve("pictures/2-added/00000-0.png")).image().rgb())
                .isEqualTo(npo.image().rgb());
        assertThat(largestDifference(
                        base,
                        Png.read(out.resolve("pictures/4-self/00000-0.png"))
                                .image()
                                .rgb()))
                .isLessThanOrEqualTo(1);
        assertThat(smpo(with(evaluate, "--out", out)).code()).isZero();
        Outcome condition = smpo(with(evaluate, "--out", out, "--negative-condition", "prompt"));
        assertThat(condition.code()).isEqualTo(1);
        assertThat(condition.err()).contains("another models[2].negative_model.condition (empty, now prompt)");
        Outcome unguided = smpo(with(evaluate, "--out", out, "--guidance-scale", 1));
        assertThat(unguided.code()).isEqualTo(2);
        assertThat(unguided.err()).contains("npo: guidance scale: expected above 1 with a negative network");
        Outcome unused = smpo(
                "evaluate",
                tiny.model(),
                "--prompts",
                table,
                "--reward",
                clip,
                "--negative-condition",
                "prompt",
                "--out",
                temporary.resolve("unused"));
        assertThat(unused.code()).isEqualTo(2);
        assertThat(unused.err()).contains("--negative-condition: expected a negative network");
    }

    /// Paths may have tildes and plus signs.
    @Test
    void theTildeIsFoundBehindAPathThatIsThere() throws IOException {
        Path odd = TinyModels.writeTrainable(temporary.resolve("a~b+c"));
        Outcome outcome = smpo(
                "evaluate",
                "x=" + odd + "~nowhere",
                "--prompts",
                temporary.resolve("p"),
                "--reward",
                "r",
                "--out",
                "o");
        assertThat(outcome.code()).isEqualTo(2);
        assertThat(outcome.err()).contains("MODEL: nowhere: expected a folder or a file, found nothing");
    }

    private static int largestDifference(byte[] a, byte[] b) {
        assertThat(a).hasSameSizeAs(b);
        int largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs((a[i] & 0xff) - (b[i] & 0xff)));
        }
        assertThat(Arrays.equals(a, b)).isEqualTo(largest == 0);
        return largest;
    }
}
