package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;

/// Commands that are asked to end before they are done.
final class InterruptTest {
    @TempDir
    private Path temporary;

    @Test
    void generateTellsWhatIsKept() throws IOException, InterruptedException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path out = temporary.resolve("out");
        String seeds = IntStream.range(0, 5000).mapToObj(Integer::toString).collect(Collectors.joining(","));
        Object[] generate = {
            "generate",
            model,
            "--prompt",
            "a",
            "--seed",
            seeds,
            "--steps",
            1,
            "--height",
            64,
            "--width",
            64,
            "--out",
            out
        };
        Process process = Outcome.start(generate);
        StringBuilder text = new StringBuilder();
        try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                text.append(line).append('\n');
                if (line.endsWith("00000-0.png")) {
                    // SIGTERM, as a scheduler sends it; Ctrl-C runs the same hooks.
                    process.toHandle().destroy();
                }
            }
        }
        assertThat(process.waitFor()).as(text.toString()).isEqualTo(143);
        assertThat(text.toString())
                .contains("smpo: interrupted; finished images are in " + out + "; run the same command again");
        assertThat(out.resolve("00000-0.png")).exists();
        assertThat(out.resolve("04999-4999.png")).doesNotExist();
    }

    @Test
    void aFinishedCommandSaysNothing() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Outcome outcome = Outcome.smpo(
                "generate", model, "--prompt", "a", "--steps", 1, "--height", 64, "--width", 64, "--out", temporary);
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.err()).doesNotContain("interrupted");
    }
}
