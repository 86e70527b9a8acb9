package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;
import static org.smpo.cli.Outcome.with;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.network.TinyBlip;
import org.smpo.network.TinyClip;
import org.smpo.reward.ScoreRun;
import org.smpo.reward.TinyPairs;

/// `smpo score` as a user runs it, on a small model with made-up weights.
final class ScoreTest {
    @TempDir
    private Path temporary;

    @Test
    void scoresAndSaysSo() throws IOException {
        Path model = TinyClip.write(temporary.resolve("model"), "vit_h", 1);
        Path data = TinyPairs.write(temporary.resolve("data"), 7, List.of(2));
        Path out = temporary.resolve("scores.parquet");
        Outcome scored =
                smpo("score", model, data, "--out", out, "--batch", 2, "--threads", 2, "--max-bad-fraction", 0.2);
        assertThat(scored.code()).as(scored.err()).isZero();
        assertThat(scored.out()).contains(out.toString(), "6 scored, 1 bad", "image 0 is better in");
        assertThat(scored.err()).contains("score 7/7 100%", "row 2: pair-2");
        assertThat(smpo("score", model, data, "--out", out).err()).contains("expected no file, found one");
        // One of seven exceeds one of a hundred; the scores are written nevertheless.
        Outcome again = smpo("score", model, data, "--out", out, "--batch", 2, "--threads", 2, "--resume");
        assertThat(again.code()).isEqualTo(1);
        assertThat(again.err()).contains("1 of 7 pairs could not be scored, more than --max-bad-fraction (0.01)");
        assertThat(again.out()).contains("6 scored, 1 bad, 7 of them in an earlier run");
        assertThat(smpo("inspect", model).out()).contains("CLIPModel");
        // The processor may be in another folder, but it must exist.
        Path processor = temporary.resolve("processor");
        Files.createDirectories(processor);
        for (String name : List.of("preprocessor_config.json", "vocab.json", "merges.txt", "tokenizer_config.json")) {
            Files.move(model.resolve(name), processor.resolve(name));
        }
        Path other = temporary.resolve("other.parquet");
        assertThat(smpo("score", model, data, "--out", other).err()).contains("preprocessor_config.json", "PickScore");
        assertThat(smpo("score", model, data, "--out", other, "--processor", processor, "--max-bad-fraction", 1)
                        .code())
                .isZero();
        assertThat(smpo("score", temporary.resolve("x"), data, "--out", other).code())
                .isEqualTo(2);
        assertThat(smpo("score", model, data, "--out", other, "--batch", 0).err())
                .contains("--batch");
        assertThat(smpo("score", model, data, "--out", other, "--precision", "fp8")
                        .err())
                .contains("fp8");
        assertThat(smpo("score", model, data, "--out", other, "--device", "tpu").code())
                .isEqualTo(2);
    }

    /// ImageReward's files as the authors publish them, with the vocabulary in a folder of its own.
    @Test
    void imageRewardScores() throws IOException {
        Path model = TinyBlip.write(temporary.resolve("ImageReward"));
        Path data = TinyPairs.write(temporary.resolve("data"), 4, List.of());
        Path out = temporary.resolve("scores.parquet");
        Outcome scored = smpo("score", model, data, "--out", out, "--batch", 3, "--threads", 2);
        assertThat(scored.code()).as(scored.err()).isZero();
        assertThat(scored.out()).contains("4 scored, 0 bad");
        Path vocabulary = Files.createDirectories(temporary.resolve("bert")).resolve("vocab.txt");
        Files.move(model.resolve("vocab.txt"), vocabulary);
        Path other = temporary.resolve("other.parquet");
        Object[] again = {"score", "imagereward:" + model.resolve("ImageReward.pt"), data, "--out", other};
        Outcome refused = smpo(again);
        assertThat(refused.code()).isEqualTo(1);
        assertThat(refused.err()).contains("expected the vocabulary of bert-base-uncased, found nothing");
        Outcome named = smpo(with(again, "--processor", vocabulary.getParent(), "--batch", 3, "--threads", 2));
        assertThat(named.code()).as(named.err()).isZero();
        assertThat(Files.readAllBytes(other)).isEqualTo(Files.readAllBytes(out));
    }

    /// A process that is killed while it scores resumes without scoring pairs again, and writes the
    /// same file.
    @Test
    void aKilledProcessIsResumed() throws Exception {
        Path model = TinyClip.write(temporary.resolve("model"), "vit_h", 1);
        Path data = TinyPairs.write(temporary.resolve("data"), 200, List.of(17));
        Path whole = temporary.resolve("whole.parquet");
        assertThat(smpo("score", model, data, "--out", whole, "--batch", 1, "--threads", 1)
                        .code())
                .isZero();
        Path out = temporary.resolve("scores.parquet");
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-Dsmpo.library=" + System.getProperty("smpo.library"),
                        "-cp",
                        System.getProperty("java.class.path"),
                        "org.smpo.cli.Main",
                        "score",
                        model.toString(),
                        data.toString(),
                        "--out",
                        out.toString(),
                        "--batch",
                        "1",
                        "--threads",
                        "1")
                .redirectErrorStream(true)
                .redirectOutput(temporary.resolve("child.log").toFile())
                .start();
        Path journal = ScoreRun.journal(out);
        while (child.isAlive() && (Files.notExists(journal) || Files.size(journal) < 1_500)) {
            Thread.sleep(2);
        }
        child.destroyForcibly();
        assertThat(child.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(journal).as(Files.readString(temporary.resolve("child.log"))).exists();
        assertThat(out).doesNotExist();
        Outcome rest = smpo("score", model, data, "--out", out, "--batch", 1, "--threads", 1, "--resume");
        assertThat(rest.code()).as(rest.err()).isZero();
        assertThat(rest.out()).contains("199 scored, 1 bad").contains("in an earlier run");
        assertThat(Files.readAllBytes(out)).isEqualTo(Files.readAllBytes(whole));
    }
}
