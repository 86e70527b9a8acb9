package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.network.TinyClip;
import org.smpo.train.TinyRun;

/// Training on steps of trajectories as a user runs it: from prompts and a reward, without data.
final class TrajectoryCommandTest {
    @TempDir
    private Path temporary;

    @Test
    void trainsFromPromptsAndAReward() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 1);
        Path reward = TinyClip.write(temporary.resolve("clip"), "vit_h", 1);
        Path prompts = Files.writeString(temporary.resolve("prompts.txt"), "a cat\na dog\n");
        Path out = temporary.resolve("run");
        Path recipe =
                Files.writeString(temporary.resolve("recipe.yaml"), """
                    base: tailorpo-sd15-lora
                    model: '%s'
                    output: '%s'
                    data: {resolution: 16}
                    trajectory: {prompts: '%s', prompts_per_rollout: 2, steps: 4, compared_steps: 2, reward: '%s'}
                    train: {steps: 3, pairs_per_step: 2, threads: 1, device: cpu}
                    """.formatted(tiny.model(), out, prompts, reward));
        Outcome tried = smpo("train", recipe, "--cache", tiny.cache(), "--dry-run");
        assertThat(tried.code()).as(tried.err()).isZero();
        assertThat(tried.out()).contains("prompts of rollouts  2", "a step  ").doesNotContain("pairs to train on");
        Outcome done = smpo("train", recipe, "--cache", tiny.cache());
        assertThat(done.code()).as(done.err()).isZero();
        assertThat(Files.readString(out.resolve("log.jsonl"))).contains("\"event\":\"rollout\"", "mean_score");
        assertThat(out.resolve("manifest.json")).content().contains("prompts_sha256", "reward_digest");
        Outcome wrong = smpo("train", recipe, "--cache", tiny.cache(), "--set", "trajectory.eta=0");
        assertThat(wrong.code()).isEqualTo(2);
        assertThat(wrong.err())
                .contains("trajectory.eta: expected a number above 0 up to 1")
                .hasLineCount(1);
        Outcome traced = smpo(
                "trace",
                tiny.model(),
                "--objective",
                "spo",
                "--beta",
                10,
                "--batch",
                prompts,
                "--out",
                out.resolve("t"));
        assertThat(traced.code()).isEqualTo(2);
        assertThat(traced.err()).contains("expected a method that noises latents, got spo");
    }
}
