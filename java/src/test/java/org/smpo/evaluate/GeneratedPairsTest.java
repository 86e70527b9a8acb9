package org.smpo.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.PairSource;
import org.smpo.data.PreferencePair;
import org.smpo.evaluate.PairsRequest.Measure;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble.Combination;
import org.smpo.objective.TournamentLoser;
import org.smpo.reward.RewardKind;

/// Pairs that rewards select among the images of a prompt.
final class GeneratedPairsTest {
    @TempDir
    private Path temporary;

    private Path evaluation;

    @BeforeEach
    void write() throws IOException, SQLException {
        evaluation = temporary.resolve("evaluation");
        FakeEvaluation fake = new FakeEvaluation(evaluation, "reward", "checker");
        fake.add("zero", 0, "a \"cat\"", 5, 0.25, 1);
        fake.add("zero", 0, "a \"cat\"", 6, -0.5, 1);
        fake.add("zero", 0, "a \"cat\"", 7, 0.125, 0);
        fake.add("zero", 1, "a dog", 9, 1, 0);
        fake.add("zero", 1, "a dog", 8, 2, 1);
        fake.add("zero", 2, "alone", 8, 2, 1);
        fake.add("one", 0, "a \"cat\"", 5, 1, 0);
        fake.add("one", 0, "a \"cat\"", 6, 2, 0);
        fake.write();
    }

    private PairsRequest request(String model, PairRule select, int perPrompt, double least, String out, String... by) {
        List<Measure> measures = Stream.of(by).map(Measure::parse).toList();
        return new PairsRequest(
                evaluation,
                Optional.ofNullable(model),
                measures,
                PairsRequest.combinationOf(measures),
                select,
                Optional.empty(),
                TournamentLoser.RANDOM,
                perPrompt,
                least,
                0,
                temporary.resolve(out));
    }

    private GeneratedPairs.Made best(String model, String reward, String out) throws IOException, InterruptedException {
        return GeneratedPairs.write(request(model, PairRule.BEST_WORST, 1, 0, out, reward), message -> {});
    }

    private List<JsonObject> lines(String out) throws IOException {
        List<JsonObject> lines = new ArrayList<>();
        for (String line : Files.readAllLines(temporary.resolve(out).resolve(GeneratedPairs.LIST))) {
            lines.add(Json.parseObject("line", line));
        }
        return lines;
    }

    @Test
    void eachPromptGivesItsBestAgainstItsWorst() throws Exception {
        Path out = temporary.resolve("out");
        assertThat(best(null, "reward", "out")).isEqualTo(new GeneratedPairs.Made(2, 1));
        assertThat(out.resolve(GeneratedPairs.LIST)).hasContent("""
            {"id":"zero-0","group":"zero-0","caption":"a \\"cat\\"","image_0":"pictures/0-5.png","image_1":"pictures/0-6.png","label":0,"score_0":0.25,"score_1":-0.5}
            {"id":"zero-1","group":"zero-1","caption":"a dog","image_0":"pictures/1-8.png","image_1":"pictures/1-9.png","label":0,"score_0":2.0,"score_1":1.0}
            """);
        assertThat(out.resolve("pictures/0-6.png")).hasContent("image 1");
        try (PairSource source = PairSource.open(out)) {
            assertThat(source.read(0)).isInstanceOf(PreferencePair.class);
            assertThat(((PreferencePair) source.read(0)).caption()).isEqualTo("a \"cat\"");
            assertThat(source.size()).isEqualTo(2);
        }
        JsonObject record = Json.readObject(out.resolve("pairs.json"));
        assertThat(record.string("evaluation_sha256")).isEqualTo(Digest.sha256(evaluation.resolve("results.parquet")));
        assertThat(record.string("model")).isEqualTo("zero");
        assertThat(record.string("select")).isEqualTo("best-worst");
        assertThat(record.string("combine")).isEqualTo("raw");
        assertThat(record.integer("pairs")).isEqualTo(2);
        assertThat(record.integer("prompts_without_pair")).isEqualTo(1);
        assertThat(record.integer("prompts")).isEqualTo(3);
        assertThat(record.objects("rewards").getFirst().string("name")).isEqualTo("reward");
    }

    /// Results of strangers cannot have other files of this machine copied.
    @Test
    void imagesOutsideTheEvaluationAreRefused() throws IOException, SQLException {
        Files.writeString(temporary.resolve("secret"), "secret");
        for (String name :
                new String[] {"../secret", temporary.resolve("secret").toString(), "pictures/../../secret", ""}) {
            try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                    Statement statement = connection.createStatement()) {
                statement.execute(
                        "CREATE TABLE results(model VARCHAR, prompt_index BIGINT, prompt VARCHAR, seed BIGINT,"
                                + " picture VARCHAR, reward DOUBLE)");
                statement.execute("INSERT INTO results VALUES ('zero', 0, 'a', 5, '" + name + "', 1),"
                        + " ('zero', 0, 'a', 6, 'pictures/1.png', 0)");
                statement.execute("COPY results TO '" + evaluation.resolve("results.parquet") + "' (FORMAT parquet)");
            }
            Path out = temporary.resolve("out");
            assertThatThrownBy(() -> best(null, "reward", "out"))
                    .hasMessageContaining("results.parquet: column ")
                    .hasMessageContaining("found " + name);
            assertThat(out.resolve("pictures/0-5.png")).doesNotExist();
        }
    }

    @Test
    void anotherModelAndAnotherMetric() throws IOException, InterruptedException {
        assertThat(best("one", "reward", "out")).isEqualTo(new GeneratedPairs.Made(1, 0));
        assertThat(Files.readString(temporary.resolve("out").resolve(GeneratedPairs.LIST)))
                .contains("\"label\":1", "0-5.png", "one-0");
        assertThat(best("one", "checker", "none")).isEqualTo(new GeneratedPairs.Made(0, 1));
        assertThat(best("zero", "checker", "other")).isEqualTo(new GeneratedPairs.Made(2, 1));
    }

    @Test
    void aTemperatureGivesProbabilities() throws IOException, InterruptedException {
        best("one", "reward:0.5", "out");
        JsonObject line = lines("out").getFirst();
        assertThat(line.number("probability_0")).isEqualTo(1 - 1 / (1 + Math.exp(-2)));
        assertThat(line.number("score_1") - line.number("score_0")).isEqualTo(2.0);
        PairsRequest sure = request("zero", PairRule.BEST_WORST, 1, 0.6, "sure", "reward:0.5");
        // 2 σ(1.5) - 1 = 0.635 for the cat, 2 σ(2) - 1 = 0.762 for the dog; by T = 1 they are 0.358 and 0.462.
        assertThat(GeneratedPairs.write(sure, message -> {})).isEqualTo(new GeneratedPairs.Made(2, 1));
        PairsRequest unsure = request("zero", PairRule.BEST_WORST, 1, 0.4, "unsure", "reward:1");
        assertThat(GeneratedPairs.write(unsure, message -> {})).isEqualTo(new GeneratedPairs.Made(1, 2));
        assertThat(lines("unsure").getFirst().string("id")).isEqualTo("zero-1");
    }

    /// A group of six images by two rewards, of which the fronts, the calibrated scores and all pairs are known.
    private void writeGroup() throws IOException, SQLException {
        FakeEvaluation fake = new FakeEvaluation(evaluation, "a", "b", "c");
        double[][] scores = {{1.2, 0.1}, {0.9, 0.9}, {-0.3, 1.4}, {0.2, 0.2}, {-0.8, -0.5}};
        for (int i = 0; i < scores.length; i++) {
            fake.add("m", 3, "a group", i, scores[i][0], scores[i][1], 7);
        }
        fake.add("m", 4, "incomparable", 0, 1, 0, 7);
        fake.add("m", 4, "incomparable", 1, 0, 1, 7);
        fake.write();
    }

    @Test
    void frontsGivePairsWithCalibratedScores() throws IOException, InterruptedException, SQLException {
        writeGroup();
        PairsRequest all = request(null, PairRule.FRONTIER, 9, 0, "all", "a:1", "b:1");
        assertThat(GeneratedPairs.write(all, message -> {})).isEqualTo(new GeneratedPairs.Made(3, 1));
        Set<String> winners = new TreeSet<>();
        Set<String> ids = new TreeSet<>();
        for (JsonObject line : lines("all")) {
            // Each winner has a lower seed than image 4, the whole lower front.
            assertThat(line.string("image_1")).isEqualTo("pictures/3-4.png");
            assertThat(line.integer("label")).isZero();
            assertThat(line.number("score_1")).isCloseTo(0.241778848086, within(1e-12));
            assertThat(line.number("probability_0"))
                    .isEqualTo((1 + line.number("score_0") - line.number("score_1")) / 2);
            assertThat(line.string("group")).isEqualTo("m-3");
            winners.add(line.string("image_0"));
            ids.add(line.string("id"));
        }
        assertThat(winners).containsExactly("pictures/3-0.png", "pictures/3-1.png", "pictures/3-2.png");
        assertThat(ids).containsExactly("m-3", "m-3-1", "m-3-2");
        assertThat(lines("all")).hasSize(3);
        // One of them per prompt, which one depends on the seed, not on the time.
        PairsRequest one = request(null, PairRule.FRONTIER, 1, 0, "one", "a:1", "b:1");
        assertThat(GeneratedPairs.write(one, message -> {})).isEqualTo(new GeneratedPairs.Made(1, 1));
        assertThat(lines("one").getFirst().string("image_0"))
                .isEqualTo(lines("all").getFirst().string("image_0"));
        Set<String> chosen = new TreeSet<>();
        for (int seed = 0; seed < 20; seed++) {
            PairsRequest other = new PairsRequest(
                    evaluation,
                    Optional.empty(),
                    one.by(),
                    Combination.CALIBRATED,
                    PairRule.FRONTIER,
                    Optional.empty(),
                    TournamentLoser.RANDOM,
                    1,
                    0,
                    seed,
                    temporary.resolve("seed" + seed));
            GeneratedPairs.write(other, message -> {});
            chosen.add(lines("seed" + seed).getFirst().string("image_0"));
        }
        assertThat(chosen).isEqualTo(winners);
        // A reward that scores all images the same has no say but half of the combined score.
        PairsRequest constant = request(null, PairRule.FRONTIER, 9, 0, "constant", "a:1", "b:1", "c");
        assertThat(GeneratedPairs.write(constant, message -> {})).isEqualTo(new GeneratedPairs.Made(3, 1));
        assertThat(lines("constant").getFirst().number("score_1"))
                .isCloseTo((2 * 0.241778848086 + 0.5) / 3, within(1e-12));
    }

    @Test
    void randomAndRankedPairs() throws IOException, InterruptedException, SQLException {
        writeGroup();
        PairsRequest random = request("m", PairRule.RANDOM, 99, 0, "random", "a");
        // Five images of distinct scores make ten pairs, two make one.
        assertThat(GeneratedPairs.write(random, message -> {})).isEqualTo(new GeneratedPairs.Made(11, 0));
        for (JsonObject line : lines("random")) {
            boolean first = line.number("score_0") > line.number("score_1");
            assertThat(line.integer("label")).isEqualTo(first ? 0 : 1);
        }
        PairsRequest few = request("m", PairRule.RANDOM, 2, 0, "few", "a");
        assertThat(GeneratedPairs.write(few, message -> {})).isEqualTo(new GeneratedPairs.Made(3, 0));
        PairsRequest ranked = request("m", PairRule.BEST_WORST, 3, 0, "ranked", "a");
        assertThat(GeneratedPairs.write(ranked, message -> {})).isEqualTo(new GeneratedPairs.Made(3, 0));
        assertThat(lines("ranked").get(1).string("image_0")).isEqualTo("pictures/3-1.png");
        assertThat(lines("ranked").get(1).string("image_1")).isEqualTo("pictures/3-2.png");
        // The typical deviation within a prompt is the temperature that is missing.
        PairsRequest auto = request("m", PairRule.BEST_WORST, 1, 0, "auto", "a:auto", "b");
        GeneratedPairs.write(auto, message -> {});
        double found = Json.readObject(temporary.resolve("auto/pairs.json"))
                .objects("rewards")
                .getFirst()
                .number("temperature");
        // The deviations are 0.7391 of the five and 0.5 of the two.
        assertThat(found).isCloseTo((Math.sqrt(0.5464) + 0.5) / 2, within(1e-9));
    }

    @Test
    void theKindOfARewardGivesItsTemperature() throws IOException, InterruptedException, SQLException {
        FakeEvaluation fake = new FakeEvaluation(evaluation, "pick", "aesthetic", "checker");
        fake.reward("pick", RewardKind.PICKSCORE);
        fake.reward("aesthetic", RewardKind.AESTHETIC);
        fake.add("m", 0, "a cat", 0, 0.25, 5, 1);
        fake.add("m", 0, "a cat", 1, 0.19, 6, 0);
        fake.write();
        PairsRequest request = request("m", PairRule.BEST_WORST, 1, 0, "kinds", "pick", "aesthetic", "checker");
        GeneratedPairs.write(request, message -> {});
        List<JsonObject> rewards =
                Json.readObject(temporary.resolve("kinds/pairs.json")).objects("rewards");
        assertThat(rewards.get(0).string("kind")).isEqualTo("pickscore");
        assertThat(rewards.get(0).number("temperature")).isEqualTo(0.01);
        // The aesthetic predictor has no published temperature, and the checker is no reward.
        assertThat(rewards.get(1).string("kind")).isEqualTo("aesthetic");
        assertThat(rewards.get(1).number("temperature")).isEqualTo(0.5);
        assertThat(rewards.get(2).has("kind")).isFalse();
        assertThat(rewards.get(2).number("temperature")).isEqualTo(0.5);
        GeneratedPairs.write(request("m", PairRule.BEST_WORST, 1, 0, "auto", "pick:auto", "checker:2"), message -> {});
        rewards = Json.readObject(temporary.resolve("auto/pairs.json")).objects("rewards");
        assertThat(rewards.get(0).number("temperature")).isCloseTo(0.03, within(1e-12));
        assertThat(rewards.get(1).number("temperature")).isEqualTo(2);
    }

    @Test
    void whatIsMissingIsNamed() throws IOException, SQLException {
        assertThatThrownBy(() -> best(null, "prompt", "out"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("metric: expected one of the evaluation's, reward, checker; got prompt");
        assertThatThrownBy(() -> best("three", "reward", "out"))
                .hasMessage("model: expected one of the evaluation's, zero, one; got three");
        Files.delete(evaluation.resolve("pictures/4.png"));
        assertThatThrownBy(() -> best(null, "reward", "out"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("4.png");
        assertThat(temporary.resolve("out").resolve(GeneratedPairs.LIST)).doesNotExist();
        for (double wrong : new double[] {Double.NaN, Double.NEGATIVE_INFINITY}) {
            FakeEvaluation fake = new FakeEvaluation(evaluation, "pickscore");
            fake.add("m", 0, "x", 0, 1);
            fake.add("m", 0, "x", 1, wrong);
            fake.write();
            assertThatThrownBy(() -> best(null, "pickscore", "out"))
                    .isInstanceOf(IOException.class)
                    .hasMessageStartingWith(
                            "results.parquet: row 1: pickscore: expected a finite number, found " + wrong);
        }
        Files.delete(evaluation.resolve("results.parquet"));
        assertThatThrownBy(() -> best(null, "reward", "out"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("expected a finished evaluation");
    }

    @Test
    void settingsThatDoNotGoTogetherAreRefused() {
        assertRefused("by: expected at least one reward for frontier, got none", PairRule.FRONTIER, 1, 0);
        assertRefused("by: expected distinct rewards, got a second reward", PairRule.RANDOM, 1, 0, "reward", "reward");
        assertRefused("by: expected a weight above 0, got none", PairRule.RANDOM, 1, 0, "reward:1:0");
        assertRefused("per_prompt: expected 1 or more, got 0", PairRule.RANDOM, 0, 0, "reward");
        assertRefused("min_preference: expected from 0 to below 1, got 1.0", PairRule.RANDOM, 1, 1, "reward:1");
        assertRefused("raw scores without a temperature", PairRule.BEST_WORST, 1, 0.5, "reward");
        assertRefused("judge: expected one for a tournament, got none", PairRule.TOURNAMENT, 1, 0, "reward");
        for (String wrong :
                List.of("", ":1", "a:b", "a:1:x", "a:1:1:1", "a:0", "a:-1", "a:NaN", "a:1:-1", "a:1:Infinity")) {
            assertThatThrownBy(() -> Measure.parse(wrong))
                    .as(wrong)
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("expected");
        }
        assertThatThrownBy(() -> new PairsRequest(
                        evaluation,
                        Optional.empty(),
                        List.of(Measure.parse("a:1"), Measure.parse("b")),
                        Combination.RAW,
                        PairRule.RANDOM,
                        Optional.empty(),
                        TournamentLoser.RANDOM,
                        1,
                        0,
                        0,
                        temporary))
                .hasMessageContaining("combine: expected a temperature for each reward with raw scores");
    }

    private void assertRefused(String message, PairRule select, int perPrompt, double least, String... by) {
        assertThatThrownBy(() -> request(null, select, perPrompt, least, "out", by))
                .as(message)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }
}
