package org.smpo.iterate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Rounds that are killed and resumed end with the bits of rounds that were not.
final class IterationSurvivalTest {
    @TempDir
    private Path temporary;

    /// A kill in each stage, in a row; seven rows with `-Dsmpo.slow=true`.
    @Test
    void killedInEveryStageTheyEndWithTheSameBits() throws IOException, InterruptedException {
        survive(TinyRounds.in(temporary), 7);
    }

    /// The same with the stages that train a reward.
    @Test
    void killedWhileARewardIsTrainedTheyEndWithTheSameBits() throws IOException, InterruptedException {
        survive(TinyRounds.withTraining(temporary), 11);
    }

    private void survive(TinyRounds rounds, int stages) throws IOException, InterruptedException {
        IterationChild.run(rounds);
        Map<String, String> expected = TinyRounds.left(rounds.output());
        Files.move(rounds.output(), temporary.resolve("whole"));
        // The instants do not affect results, so each test run may use others.
        long seed = new Random().nextLong();
        Random random = new Random(seed);
        int kills = 0;
        int rows = Boolean.getBoolean("smpo.slow") ? 7 : 1;
        for (int row = 0; row < rows; row++) {
            for (int stage = 1; stage <= stages; stage++) {
                kills += killIn(stage, random.nextInt(400)) ? 1 : 0;
            }
            assertThat(killIn(stages + 1, 0)).as("seed " + seed).isFalse();
            Map<String, String> found = TinyRounds.left(rounds.output());
            assertThat(found.keySet()).as("seed " + seed).isEqualTo(expected.keySet());
            assertThat(expected.keySet().stream()
                            .filter(file -> !found.get(file).equals(expected.get(file)))
                            .toList())
                    .as("files that differ; seed " + seed)
                    .isEmpty();
            Files.move(rounds.output(), temporary.resolve("killed" + row));
        }
        System.out.println(kills + " kills of rounds");
        assertThat(kills).isPositive();
    }

    /// Starts or resumes the rounds and kills them after a stage has begun.
    ///
    /// @return whether they were killed, rather than ended before
    private boolean killIn(int stage, int milliseconds) throws IOException, InterruptedException {
        Process process = IterationChild.start(temporary);
        StringBuilder said = new StringBuilder();
        boolean killed = false;
        boolean done = false;
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = out.readLine(); line != null; line = out.readLine()) {
                said.append(line).append('\n');
                done |= line.equals("done");
                if (line.equals("stage " + stage)) {
                    killed = !process.waitFor(milliseconds, TimeUnit.MILLISECONDS);
                    process.toHandle().destroyForcibly();
                }
            }
        }
        int code = process.waitFor();
        assertThat(code).as(said.toString()).isIn(0, 137);
        assertThat(killed || done).as(said.toString()).isTrue();
        return killed;
    }
}
