package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.recipe.Recipe;

/// Kills, damage and a second process do not change a run's results.
final class SurvivalTest {
    private static final String[] OVERRIDES = {"train.steps=12", "checkpoint.every=1", "train.ema=0.9"};

    @TempDir
    private Path temporary;

    /// Three kills; thirty with `-Dsmpo.slow=true`.
    @Test
    void killedAtAnyInstantItEndsWithTheSameBits() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        String name = "run";
        tiny.run(tiny.recipe(name, OVERRIDES));
        tiny.rename(name, "whole");
        Map<String, String> expected = tiny.left("whole");
        int kills = Boolean.getBoolean("smpo.slow") ? 30 : 3;
        // The instants do not affect results, so each test run may use others.
        Random random = new Random();
        long seed = random.nextLong();
        random.setSeed(seed);
        int killed = 0;
        int runs = 0;
        int resumable = 0;
        while (killed < kills) {
            while (true) {
                Process process = TrainerChild.start(temporary, name, Map.of(), OVERRIDES);
                String last = "";
                try (BufferedReader out =
                        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
                    // Some are killed while they open the run, most while they take steps, save and
                    // write the model.
                    String awaited = random.nextInt(4) == 0 ? "begin" : "open";
                    while (!last.equals(awaited)) {
                        last = out.readLine();
                        assertThat(last).as("seed " + seed).isIn("begin", "open");
                    }
                    if (killed < kills) {
                        boolean ended = process.waitFor(random.nextInt(1500), TimeUnit.MILLISECONDS);
                        process.toHandle().destroyForcibly();
                        killed += ended ? 0 : 1;
                    }
                    StringBuilder text = new StringBuilder();
                    for (String line = out.readLine(); line != null; line = out.readLine()) {
                        text.append(line).append('\n');
                        last = line;
                    }
                    int code = process.waitFor();
                    assertThat(code).as(text.toString()).isIn(0, 137);
                }
                if (!Checkpoint.all(tiny.output(name).resolve("checkpoints")).isEmpty()) {
                    resumable++;
                }
                if (last.equals("done")) {
                    break;
                }
            }
            tiny.assertSame(name, expected);
            tiny.rename(name, "killed" + runs++);
        }
        System.out.println(killed + " kills over " + runs + " runs; " + (resumable - runs) + " left a checkpoint");
    }

    @Test
    void aDamagedCheckpointIsNamedAndTheOneBeforeIsUsed() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Recipe recipe = tiny.recipe("run");
        tiny.run(recipe);
        tiny.rename("run", "whole");
        for (String file : List.of("policy.safetensors", "optimizer.safetensors", "state.json", "manifest.json")) {
            TinyRun.Said said = new TinyRun.Said();
            said.stopAfter = 5;
            TrainingResult stopped = tiny.run(recipe, false, said);
            assertThat(stopped.checkpoint().getFileName()).hasToString("step-000005");
            Path path = stopped.checkpoint().resolve(file);
            byte[] bytes = Files.readAllBytes(path);
            bytes[bytes.length / 2] ^= 1;
            Files.write(path, bytes);
            TinyRun.Said resumed = new TinyRun.Said();
            tiny.run(recipe, true, resumed);
            assertThat(resumed.warnings)
                    .anySatisfy(warning -> assertThat(warning)
                            .contains("step-000005", file.equals("manifest.json") ? "" : file, "damaged"));
            assertThat(resumed.messages).contains("resuming after step 4");
            tiny.assertSame("run", tiny.left("whole"));
            tiny.rename("run", "damaged " + file);
        }
    }

    @Test
    void aRunThatCannotBeContinuedSaysWhy() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Recipe recipe = tiny.recipe("run");
        assertThatThrownBy(() -> tiny.run(recipe, true, new TinyRun.Said())).hasMessageContaining("no run to resume");
        TinyRun.Said said = new TinyRun.Said();
        said.stopAfter = 1;
        try (Trainer trainer = Trainer.open(recipe, false, tiny.cache(), said)) {
            said.watch(trainer);
            assertThatThrownBy(() -> tiny.run(recipe, true, new TinyRun.Said()))
                    .hasMessageContaining("found one in use for a run");
            trainer.run();
        }
        assertThatThrownBy(() -> tiny.run(recipe)).hasMessageContaining("has a run already", "--resume");
        assertThatThrownBy(() -> tiny.run(tiny.recipe("run", "train.max_grad_norm=7"), true, new TinyRun.Said()))
                .hasMessageContaining("another recipe")
                .hasMessageContaining("train.max_grad_norm: 1 then, train.max_grad_norm: 7 now")
                .hasMessageContaining("begin another run");
        // Other data under the same path.
        Path lines = tiny.data().resolve("pairs.jsonl");
        Files.writeString(lines, Files.readString(lines).replace("cat number 3", "dog number 3"));
        assertThatThrownBy(() -> tiny.run(recipe, true, new TinyRun.Said()))
                .hasMessageContaining("data.fingerprint: the run was begun with");
    }
}
