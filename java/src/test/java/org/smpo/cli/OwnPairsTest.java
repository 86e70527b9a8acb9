package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.network.TinyClip;
import org.smpo.report.RunLog;

/// A model's own images, from generation to training on pairs of them with the built-in recipes of CaPO and BCR.
final class OwnPairsTest {
    @TempDir
    private Path temporary;

    private void succeed(Object... words) {
        Outcome outcome = smpo(words);
        assertThat(outcome.code()).as(outcome.err()).isZero();
    }

    private List<Map<String, Object>> train(String base, Path model, Path pairs) throws IOException {
        Path recipe = Files.writeString(
                temporary.resolve(base + ".yaml"), """
                    base: %s
                    model: '%s'
                    output: '%s'
                    data: {paths: ['%s'], resolution: 16, decode_threads: 1}
                    train: {steps: 3, pairs_per_step: 2, precision: fp32, device: cpu, threads: 1, weights: {rank: 2, alpha: 2}}
                    learning_rate: {warmup_steps: 0}
                    """.formatted(base, model, temporary.resolve(base), pairs));
        succeed("train", recipe, "--cache", temporary.resolve("cache"));
        assertThat(temporary.resolve(base).resolve("pytorch_lora_weights.safetensors"))
                .exists();
        return RunLog.read(temporary.resolve(base).resolve("log.jsonl"));
    }

    @Test
    void fromImagesToTuning() throws IOException {
        Path model = TinyModels.writeTrainable(temporary.resolve("model"));
        Path prompts = Files.writeString(temporary.resolve("p.txt"), "a cat\na red house\na dog\n");
        Path evaluation = temporary.resolve("own");
        succeed(
                "evaluate",
                "base=" + model,
                "--prompts",
                prompts,
                "--images",
                4,
                "--reward",
                "one=" + TinyClip.write(temporary.resolve("one"), "vit_h", 1),
                "--reward",
                "two=" + TinyClip.write(temporary.resolve("two"), "vit_h", 2),
                "--steps",
                2,
                "--resamples",
                10,
                "--threads",
                1,
                "--out",
                evaluation);

        Path fronts = temporary.resolve("fronts");
        succeed(
                "data",
                "pairs",
                evaluation,
                "--by",
                "one",
                "--by",
                "two",
                "--select",
                "frontier",
                "--per-prompt",
                3,
                "--out",
                fronts);
        for (JsonObject reward : Json.readObject(fronts.resolve("pairs.json")).objects("rewards")) {
            assertThat(reward.string("kind")).isEqualTo("clip");
            assertThat(reward.number("temperature")).isEqualTo(0.01);
        }
        List<Map<String, Object>> capo = train("capo-sd15-lora", model, fronts);
        assertThat(capo).hasSize(3).allSatisfy(step -> {
            assertThat(step).containsEntry("event", "step").containsEntry("negative_margins", 0.0);
            assertThat((double) step.get("margin_error")).isBetween(1e-6, 1.0);
        });
        // The adapters begin at 0, so the first error is the margin, a difference of two calibrated scores.
        assertThat((double) capo.getFirst().get("loss")).isBetween(0.0, 1.0);

        Path champions = temporary.resolve("champions");
        succeed("data", "pairs", evaluation, "--select", "tournament", "--judge", "score:one", "--out", champions);
        List<Map<String, Object>> bcr = train("dpo-bcr-sd15-lora", model, champions);
        assertThat(bcr).hasSize(3).allSatisfy(step -> assertThat(step).containsKey("winner_over_budget"));
    }
}
