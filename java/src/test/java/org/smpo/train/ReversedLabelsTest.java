package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Training with reversed labels is training on pairs whose images or labels were exchanged, bit for bit.
final class ReversedLabelsTest {
    private static final String POLICY = "checkpoints/step-000010/policy.safetensors";

    private static final String[] DPO = {
        "objective={method: dpo, beta: 2000}", "inversion=none", "train.steps=10", "checkpoint.every=5"
    };

    @TempDir
    private Path temporary;

    private TinyRun tiny;

    @BeforeEach
    void write() throws IOException {
        tiny = TinyRun.in(temporary, 9);
    }

    private void run(String name, String... more) throws IOException, InterruptedException {
        String[] all = java.util.Arrays.copyOf(DPO, DPO.length + more.length);
        System.arraycopy(more, 0, all, DPO.length, more.length);
        tiny.run(tiny.recipe(name, all));
    }

    private void rewrite(UnaryOperator<String> line) throws IOException {
        Path list = tiny.data().resolve("pairs.jsonl");
        StringBuilder lines = new StringBuilder();
        Files.readAllLines(list).forEach(each -> lines.append(line.apply(each)).append('\n'));
        Files.writeString(list, lines);
    }

    private static String exchanged(String line, String one, String other) {
        return line.replace(one, "@").replace(other, one).replace("@", other);
    }

    private void assertSame(String name, String other) throws IOException {
        assertThat(tiny.losses(name)).hasSize(10).isEqualTo(tiny.losses(other));
        assertThat(tiny.left(name).get(POLICY))
                .isNotNull()
                .isEqualTo(tiny.left(other).get(POLICY));
    }

    /// A flip belongs to the image's place in the pair, so here both images of a pair share it.
    @Test
    void tenStepsEqualThoseOfExchangedImages() throws IOException, InterruptedException {
        run("plain", "data.shared_augmentation=true");
        run("reversed", "data.shared_augmentation=true", "labels.reversed=true");
        rewrite(line -> exchanged(line, "\"image_0\"", "\"image_1\""));
        run("exchanged", "data.shared_augmentation=true");
        assertSame("reversed", "exchanged");
        assertThat(tiny.losses("reversed")).isNotEqualTo(tiny.losses("plain"));
    }

    @Test
    void tenStepsEqualThoseOfExchangedLabels() throws IOException, InterruptedException {
        run("reversed", "labels.reversed=true");
        rewrite(line -> exchanged(line, "\"label\": 0", "\"label\": 1"));
        run("exchanged");
        assertSame("reversed", "exchanged");
    }

    @Test
    void aReversedRunResumesBitForBit() throws IOException, InterruptedException {
        String[] reversed = java.util.Arrays.copyOf(DPO, DPO.length + 1);
        reversed[DPO.length] = "labels.reversed=true";
        tiny.run(tiny.recipe("run", reversed));
        tiny.rename("run", "whole");
        tiny.runInTwo(tiny.recipe("run", reversed), 7);
        tiny.assertSame("run", tiny.left("whole"));
    }
}
