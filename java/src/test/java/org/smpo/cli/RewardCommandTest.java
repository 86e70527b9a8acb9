package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.JoinedPairs;
import org.smpo.data.PairSource;
import org.smpo.data.PairWeights;
import org.smpo.io.Json;
import org.smpo.io.Rendering;
import org.smpo.network.TinyClip;
import org.smpo.reward.ScoreTable;
import org.smpo.reward.TintedPairs;

/// `smpo reward` and `smpo data weigh` as a user runs them, on a small model with made-up weights.
final class RewardCommandTest {
    @TempDir
    private Path temporary;

    private Path model;

    @BeforeEach
    void writeModel() throws IOException {
        model = TinyClip.write(temporary.resolve("model"), "vit_h", 1);
    }

    private Path pairs(String name, int count, int red, int bad) throws IOException {
        return TintedPairs.write(temporary.resolve(name), count, red, bad);
    }

    private static Outcome ok(Object... arguments) {
        Outcome outcome = smpo(Outcome.with(arguments, "--threads", 1));
        assertThat(outcome.code()).as(outcome.err()).isZero();
        return outcome;
    }

    private static void refused(int code, String message, Object... arguments) {
        Outcome outcome = smpo(Outcome.with(arguments, "--threads", 1));
        assertThat(outcome.err()).contains(message);
        assertThat(outcome.code()).isEqualTo(code);
    }

    private static double percent(String text, String before) {
        return Double.parseDouble(
                text.substring(text.indexOf(before) + before.length()).replaceFirst(" %[\\s\\S]*", ""));
    }

    @Test
    void aHeadLearnsWhatPeoplePrefer() throws IOException {
        Path human = pairs("human", 80, 0, 0);
        Path head = temporary.resolve("head");
        Outcome fit = ok("reward", "fit", model, "--pairs", human, "--out", head, "--l2", 0.01, "--batch", 16);
        assertThat(fit.out()).contains(head.toString(), " fitted to, ", " held out, 0 without a better image, 0 bad");
        assertThat(fit.err()).contains("embed 80/80", "80 pairs are few for a head of");
        double with = percent(fit.out(), "held out: accuracy ");
        double without = percent(fit.out(), "without the head ");
        assertThat(with).isGreaterThan(85).isGreaterThanOrEqualTo(without);
        assertThat(Json.readObject(head.resolve("reward.json")).number("held_out_accuracy") * 100)
                .isEqualTo(with, org.assertj.core.api.Assertions.within(0.06));

        // A head is a reward wherever one is named.
        Path fresh = pairs("fresh", 40, 1, 0);
        Outcome check = ok("reward", "check", head, "--pairs", fresh);
        assertThat(percent(check.out(), "accuracy: ")).isGreaterThan(85);
        assertThat(check.out()).contains("pairs: 40, 0 without a better image, 0 bad", "temperature: ");
        Outcome base = ok("reward", "check", "clip:" + model, "--pairs", fresh);
        assertThat(base.out()).contains("usual temperature: 0.01 (");
        Path scores = temporary.resolve("scores.parquet");
        assertThat(ok("score", head, fresh, "--out", scores).out()).contains("40 scored");
        assertThat(ok("score", "mine=head:" + head, fresh, "--out", temporary.resolve("again.parquet"))
                        .out())
                .contains("40 scored");

        Path again = temporary.resolve("again");
        ok("reward", "fit", model, "--pairs", human, "--out", again, "--l2", 0.01, "--batch", 16);
        assertThat(Files.readAllBytes(again.resolve("head.safetensors")))
                .isEqualTo(Files.readAllBytes(head.resolve("head.safetensors")));
    }

    @Test
    void theGameHasItsWeightOrIsLeftOut() throws IOException {
        Path human = pairs("human", 60, 0, 0);
        Path game = pairs("game", 30, 90, 0);
        Outcome fit = ok(
                "reward",
                "fit",
                model,
                "--pairs",
                human,
                "--pairs-game",
                game,
                "--game-weight",
                0.5,
                "--out",
                temporary.resolve("head"));
        assertThat(fit.out()).contains("game: weight 0.5, accuracy ");
        // Where people agree with the model by itself, a heavy game of something else can only harm.
        Path scores = temporary.resolve("scores.parquet");
        ok("score", "clip:" + model, human, "--out", scores);
        TintedPairs.relabel(human, ScoreTable.read(scores));
        Outcome guarded = ok(
                "reward",
                "fit",
                model,
                "--pairs",
                human,
                "--pairs-game",
                game,
                "--game-weight",
                10000,
                "--out",
                temporary.resolve("guarded"));
        assertThat(guarded.err())
                .contains(
                        "warning: with the game at weight 10000.0 the head forgets what people prefer", "is left out");
        assertThat(guarded.out()).contains("game: weight 0.0, accuracy ", "without the head 100.0 %");
    }

    @Test
    void aClassifierTellsTwoSetsApart() throws IOException {
        Path target = pairs("target", 40, 0, 0);
        Path source = pairs("source", 40, 100, 0);
        Path head = temporary.resolve("domain");
        Outcome fit = ok(
                "reward", "fit", model, "--target", target, "--source", source, "--features", "image", "--out", head);
        assertThat(percent(fit.out(), "held out: accuracy ")).isGreaterThan(95);
        assertThat(ok("score", head, source, "--out", temporary.resolve("s.parquet"))
                        .out())
                .contains("40 scored");
        Outcome same =
                ok("reward", "fit", model, "--target", target, "--source", target, "--out", temporary.resolve("same"));
        assertThat(percent(same.out(), "held out: accuracy ")).isEqualTo(50);
    }

    @Test
    void wrongFitsAreRefused() throws IOException {
        Path human = pairs("human", 12, 0, 3);
        Path head = temporary.resolve("head");
        refused(2, "expected either --pairs, or --target and --source", "reward", "fit", model, "--out", head);
        refused(2, "expected either", "reward", "fit", model, "--target", human, "--out", head);
        refused(
                2,
                "expected either",
                "reward",
                "fit",
                model,
                "--pairs",
                human,
                "--target",
                human,
                "--source",
                human,
                "--out",
                head);
        refused(
                2,
                "--pairs-game, --generated and --temperature go with --pairs",
                "reward",
                "fit",
                model,
                "--target",
                human,
                "--source",
                human,
                "--temperature",
                1,
                "--out",
                head);
        refused(
                2,
                "--l2: expected a number above 0, got 0.0",
                "reward",
                "fit",
                model,
                "--pairs",
                human,
                "--l2",
                0,
                "--out",
                head);
        refused(
                2,
                "--game-weight: expected",
                "reward",
                "fit",
                model,
                "--pairs",
                human,
                "--game-weight",
                -1,
                "--out",
                head);
        refused(2, "--guard: expected 0 to 1", "reward", "fit", model, "--pairs", human, "--guard", 2, "--out", head);
        refused(
                2,
                "--features: expected one of both, image, got pixels",
                "reward",
                "fit",
                model,
                "--pairs",
                human,
                "--features",
                "pixels",
                "--max-bad-fraction",
                1,
                "--out",
                head);
        refused(
                1,
                "3 of 12 pairs cannot be read, more than --max-bad-fraction (0.01) allows, the first of them row 9",
                "reward",
                "fit",
                model,
                "--pairs",
                human,
                "--out",
                head);
        refused(2, "exists already", "reward", "fit", model, "--pairs", human, "--out", human);
        assertThat(head).doesNotExist();
        Path one = pairs("one", 1, 0, 0);
        refused(
                2,
                "found none; give more pairs with a better image",
                "reward",
                "fit",
                model,
                "--pairs",
                one,
                "--out",
                head);
        Path fitted = temporary.resolve("fitted");
        ok("reward", "fit", model, "--pairs", human, "--max-bad-fraction", 0.3, "--out", fitted);
        refused(
                2,
                "expected a CLIP model (clip, pickscore or hpsv2), whose embeddings a head can read, found a reward of"
                        + " kind head",
                "reward",
                "fit",
                fitted,
                "--pairs",
                human,
                "--out",
                head);
        assertThat(smpo("reward").err()).contains("Missing command: fit or check");
        refused(1, "more than --max-bad-fraction", "reward", "check", model, "--pairs", human);
    }

    @Test
    void weightsFollowTheTarget() throws IOException {
        Path target = pairs("target", 30, 0, 0);
        Path source = pairs("source", 60, 100, 2);
        Path out = temporary.resolve("weights.parquet");
        Outcome weighed = ok(
                "data",
                "weigh",
                model,
                "--target",
                target,
                "--source",
                source,
                "--out",
                out,
                "--max-bad-fraction",
                0.1);
        assertThat(weighed.out())
                .contains(
                        out.toString(), "told from the target with accuracy ", "effective sample size ", " of 88 pairs")
                .contains("for data.paths: [" + target + ", " + source + "]");
        assertThat(weighed.err()).contains("told apart so surely");
        try (PairSource first = open(target);
                PairSource second = open(source)) {
            PairSource all = JoinedPairs.of(List.of(first, second));
            PairWeights weights = PairWeights.read(out, all, line -> {
                throw new AssertionError(line);
            });
            // The target is 30 of the 88 readable pairs, so a pair of it weighs at most 88/30.
            double targets = 0;
            double sources = 0;
            for (int row = 0; row < 90; row++) {
                assertThat(weights.weight(row)).isBetween(0.0, 88 / 30.0);
                targets += row < 30 ? weights.weight(row) / 30 : 0;
                sources += row >= 30 ? weights.weight(row) / 58 : 0;
            }
            assertThat(targets).isGreaterThan(2.5);
            assertThat(sources).isBetween(0.0, 0.2);
            assertThat(weights.weight(89)).isZero();
        }
        refused(2, "exists already", "data", "weigh", model, "--target", target, "--source", source, "--out", out);
    }

    @Test
    void aTargetThatLooksLikeTheSourceWeighsNearlyNothing() throws IOException {
        Path target = pairs("target", 30, 0, 0);
        Path out = temporary.resolve("weights.parquet");
        Outcome weighed = ok("data", "weigh", model, "--target", target, "--source", target, "--out", out);
        assertThat(weighed.err()).contains("target and source look alike, so the weights are nearly 1");
        assertThat(weighed.out()).contains("mean weight 1.000", "effective sample size 60.0 of 60 pairs");
    }

    @Test
    void aTargetThatIsNotTrainedOnBoundsTheWeights() throws IOException {
        Path target = pairs("target", 30, 100, 0);
        Path source = pairs("source", 30, 60, 0);
        Path out = temporary.resolve("weights.parquet");
        Outcome weighed = ok(
                "data",
                "weigh",
                model,
                "--target",
                target,
                "--source",
                source,
                "--target-only",
                "--max-weight",
                3,
                "--out",
                out);
        assertThat(weighed.out()).contains("the target is not trained on: ", "for data.paths: [" + source + "]");
        try (PairSource only = open(source)) {
            PairWeights weights = PairWeights.read(out, only, line -> {});
            for (int row = 0; row < 30; row++) {
                assertThat(weights.weight(row)).isBetween(0.0, 3.0);
            }
        }
    }

    private static PairSource open(Path path) throws IOException {
        return PairSource.open(path, Optional.empty(), Rendering.VIEWER);
    }
}
