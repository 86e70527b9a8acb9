package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.demo.Scene;
import org.smpo.demo.SceneChecker;
import org.smpo.io.DType;
import org.smpo.io.RgbImage;
import org.smpo.io.Safetensors;

/// `smpo demo draw` as a user runs it, and the refusals of `smpo demo`.
final class DemoTest {
    @TempDir
    private Path temporary;

    @Test
    void drawnPairsAreValid() {
        Path folder = temporary.resolve("new/pairs");
        Outcome rendered = smpo("demo", "draw", "--pairs", 12, "--out", folder, "--seed", 5);
        assertThat(rendered.code()).as(rendered.err()).isZero();
        assertThat(rendered.out().strip())
                .isEqualTo(folder.resolve("pairs.parquet").toString());
        assertThat(rendered.err()).contains("12 of 12 pairs");
        Outcome valid = smpo("data", "validate", folder, "--max-bad-fraction", 0);
        assertThat(valid.code()).as(valid.out() + valid.err()).isZero();
        assertThat(valid.out()).contains("12");
    }

    /// Line i is the caption of image i.
    @Test
    void renderedScenesMatchTheirCaptions() throws IOException {
        Path folder = temporary.resolve("scenes");
        Outcome rendered = smpo("demo", "draw", "--scenes", 40, "--out", folder);
        assertThat(rendered.code()).as(rendered.err()).isZero();
        List<String> captions = Files.readAllLines(folder.resolve("captions.txt"));
        assertThat(captions).hasSize(40);
        int right = 0;
        int shifted = 0;
        try (Safetensors file = Safetensors.open(folder.resolve("scenes.safetensors"))) {
            assertThat(file.entry("pictures").dtype()).isEqualTo(DType.U8);
            assertThat(file.entry("pictures").shape()).containsExactly(40L, 64L, 64L, 3L);
            assertThat(file.metadata()).containsEntry("smpo.seed", "0");
            MemorySegment pixels = file.segment("pictures");
            long length = 64 * 64 * 3;
            for (int i = 0; i < 40; i++) {
                RgbImage image =
                        RgbImage.of(64, 64, pixels.asSlice(i * length, length).toArray(ValueLayout.JAVA_BYTE));
                right += SceneChecker.check(image, Scene.parse(captions.get(i))).right() ? 1 : 0;
                shifted += SceneChecker.check(image, Scene.parse(captions.get((i + 1) % 40)))
                                .right()
                        ? 1
                        : 0;
            }
        }
        assertThat(right).isGreaterThanOrEqualTo(39);
        assertThat(shifted).isLessThan(5);
    }

    /// The unpacked model can be inspected and none of the prompts for tuning is one of the evaluation's.
    @Test
    void unpackedFilesAreAModelAndTwoSetsOfPrompts() throws IOException {
        Path folder = temporary.resolve("unpacked");
        Outcome unpacked = smpo("demo", "unpack", "--out", folder);
        assertThat(unpacked.code()).as(unpacked.err()).isZero();
        assertThat(smpo("inspect", folder.resolve("model")).code()).isZero();
        List<String> evaluation = Files.readAllLines(folder.resolve("prompts.tsv"));
        List<String> tuning = Files.readAllLines(folder.resolve("own-prompts.tsv"));
        assertThat(evaluation).hasSize(49).first().isEqualTo("Prompt\tCategory");
        assertThat(tuning).hasSize(145);
        assertThat(tuning.subList(1, 145)).doesNotContainAnyElementsOf(evaluation.subList(1, 49));
    }

    /// A report would mix the results of two demos.
    @Test
    void aFolderWithAnotherDemoIsRefused() throws IOException {
        Path folder = Files.createDirectories(temporary.resolve("demo"));
        Files.writeString(folder.resolve("demo.json"), "{}");
        Outcome outcome = smpo("demo", "--out", folder);
        assertThat(outcome.code()).isEqualTo(2);
        assertThat(outcome.err()).contains("other settings").doesNotContain("\tat ");
        assertThat(folder.resolve("data")).doesNotExist();
    }

    @Test
    void wrongUsageEndsWithTwo() throws IOException {
        Path file = Files.writeString(temporary.resolve("file"), "text");
        Path taken = Files.createDirectories(temporary.resolve("taken"));
        Files.writeString(taken.resolve("pairs.parquet"), "old");
        Files.writeString(taken.resolve("captions.txt"), "old");
        Path free = temporary.resolve("free");
        Object[][] wrong = {
            {"demo", "--out", file},
            {"demo", "unpack"},
            {"demo", "unpack", "--out", file},
            {"demo", "draw", "--out", free},
            {"demo", "draw", "--pairs", 1},
            {"demo", "draw", "--pairs", 0, "--out", free},
            {"demo", "draw", "--scenes", -1, "--out", free},
            {"demo", "draw", "--pairs", 1, "--scenes", 1, "--out", free},
            {"demo", "draw", "--pairs", 1, "--out", file},
            {"demo", "draw", "--pairs", 1, "--out", taken},
            {"demo", "draw", "--scenes", 1, "--out", taken},
            {"demo", "draw", "--pairs", 1, "--out", free, "--seed", "x"}
        };
        for (Object[] arguments : wrong) {
            Outcome outcome = smpo(arguments);
            assertThat(outcome.code()).as(Arrays.toString(arguments)).isEqualTo(2);
            assertThat(outcome.err()).isNotBlank().doesNotContain("\tat ");
        }
        assertThat(free).doesNotExist();
        assertThat(taken.resolve("pairs.parquet")).hasContent("old");
    }
}
