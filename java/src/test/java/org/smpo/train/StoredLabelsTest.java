package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.PairSource;
import org.smpo.data.PairWeights;

/// Labels that the data, several rewards or a file of weights give to stored pairs, in whole runs.
final class StoredLabelsTest {
    private static final int PAIRS = 9;
    private static final String[] DPO = {"objective={method: dpo, beta: 2000}", "inversion=none"};
    private static final String[] CAPO = {"objective={method: capo, beta: 100, bias: 1.5}", "inversion=none"};

    @TempDir
    private Path temporary;

    private TinyRun tiny;

    @BeforeEach
    void write() throws IOException {
        tiny = TinyRun.in(temporary, PAIRS);
    }

    private void rewrite(UnaryOperator<String> line) throws IOException {
        Path list = tiny.data().resolve("pairs.jsonl");
        StringBuilder lines = new StringBuilder();
        Files.readAllLines(list).forEach(each -> lines.append(line.apply(each)).append('\n'));
        Files.writeString(list, lines);
    }

    private static String[] with(String[] overrides, String... more) {
        String[] all = Arrays.copyOf(overrides, overrides.length + more.length);
        System.arraycopy(more, 0, all, overrides.length, more.length);
        return all;
    }

    private TinyRun.Said run(String name, String... overrides) throws IOException, InterruptedException {
        TinyRun.Said said = new TinyRun.Said();
        tiny.run(tiny.recipe(name, overrides), false, said);
        return said;
    }

    private String policy(String name) throws IOException {
        return tiny.left(name).get("checkpoints/step-000006/policy.safetensors");
    }

    /// Writes Parquet from SQL over a column `row`, 0 to 8.
    private Path parquet(String name, String metadata, String columns) throws SQLException {
        Path file = temporary.resolve(name);
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                Statement statement = connection.createStatement()) {
            statement.execute("COPY (SELECT 'p' || row AS id, row, " + columns + " FROM range(" + PAIRS
                    + ") t(row)) TO '" + file + "' (FORMAT parquet" + metadata + ")");
        }
        return file;
    }

    private String metadata(String reward) throws IOException {
        try (PairSource data = PairSource.open(tiny.data())) {
            return ", KV_METADATA {'smpo.format': '2', 'smpo.reward': '" + reward + "', 'smpo.model_digest': 'm',"
                    + " 'smpo.data_digest': '" + data.fingerprint() + "', 'smpo.rows': '" + PAIRS
                    + "', 'smpo.preprocessing': 'none'}";
        }
    }

    /// Every pair has p = ¾ here, so the run is that of one probability for all pairs.
    @Test
    void probabilitiesOfTheDataAreLabels() throws IOException, InterruptedException {
        run("fixed", "labels.probability=0.75", "objective.beta=100");
        rewrite(line -> line.replace("\"label\": 0", "\"probability_0\": 0.75")
                .replace("\"label\": 1", "\"probability_0\": 0.25"));
        TinyRun.Said said = run("data", "labels.probability=data", "objective.beta=100");
        assertThat(said.messages).anyMatch(line -> line.contains("9 pairs to train on or hold out, 0 ties"));
        assertThat(tiny.losses("data")).isEqualTo(tiny.losses("fixed"));
        assertThat(policy("data")).isNotNull().isEqualTo(policy("fixed"));
        // One pair at ½ is a tie, and another probability another loss.
        int[] number = {0};
        rewrite(line -> number[0]++ == 0
                ? line.replaceFirst("0\\.[27]5", "0.5")
                : line.replace("0.25", "0.125").replace("0.75", "0.875"));
        said = run("other", "labels.probability=data", "objective.beta=100");
        assertThat(said.messages).anyMatch(line -> line.contains("8 pairs to train on or hold out, 1 ties"));
        assertThat(tiny.losses("other")).isNotEqualTo(tiny.losses("fixed"));
        rewrite(line -> line.replaceFirst("\"probability_0\": [0-9.]+, ", ""));
        assertThatThrownBy(() -> run("none", "labels.probability=data", "objective.beta=100"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("9 without a probability (probability_0 of the data");
    }

    /// Two files whose rewards vote for image 0, one of them with a weight of 0 against it.
    @Test
    void severalRewardsMakeOneLabel() throws IOException, SQLException, InterruptedException {
        Path one = parquet("one.parquet", metadata("pickscore"), "0.2 + row / 100 AS score_0, 0.2 AS score_1");
        Path two = parquet("two.parquet", metadata("clip"), "1.0 AS score_0, 1.0 + row AS score_1");
        String both = "labels={winner: reward, range: published, scores: ['" + one + "', '" + two
                + "'], combine: {temperatures: [0.01, 1]%s}}";
        TinyRun.Said said = run("equal", both.formatted(""));
        // Their probabilities are σ(row) and σ(−row): ½ together, which is no winner. Row 0 has equal scores.
        assertThat(said.messages).noneMatch(line -> line.contains("exchanges"));
        assertThat(tiny.losses("equal")).hasSize(6);
        run("first", both.formatted(", weights: [1, 0]"));
        run("second", both.formatted(", weights: [0, 1]"));
        assertThat(tiny.losses("first")).isNotEqualTo(tiny.losses("second"));
        run(
                "alone",
                "labels={winner: reward, range: published, scores: '" + one + "', combine: {temperatures: [0.01]}}");
        assertThat(tiny.losses("alone")).isEqualTo(tiny.losses("first"));
        assertThat(Files.readString(tiny.output("first").resolve("manifest.json")))
                .containsPattern("\"scores_sha256\": \"[0-9a-f]{64} [0-9a-f]{64}\"");
        Files.delete(two);
        Path changed = parquet("two.parquet", metadata("clip"), "1.0 AS score_0, 2.0 + row AS score_1");
        assertThat(changed).isEqualTo(two);
        assertThatThrownBy(() ->
                        tiny.run(tiny.recipe("first", both.formatted(", weights: [1, 0]")), true, new TinyRun.Said()))
                .hasMessageContaining("scores_sha256");
    }

    @Test
    void weightsScaleThePairsOfAStep() throws IOException, SQLException, InterruptedException {
        Path ones = parquet("ones.parquet", "", "1.0 AS weight_0, 1.0 AS weight_1");
        Path mixed = parquet("mixed.parquet", metadata("x"), "row / 4 AS weight_0, row / 2 AS weight_1");
        String[] evaluated = with(DPO, "evaluate.every=3");
        run("plain", evaluated);
        TinyRun.Said said = run("ones", with(evaluated, "labels.weights=" + ones));
        assertThat(said.messages).anyMatch(line -> line.contains("does not name its data; its rows are matched"));
        assertThat(policy("ones")).isNotNull().isEqualTo(policy("plain"));
        said = run("mixed", with(evaluated, "labels.weights=" + mixed));
        assertThat(said.messages).noneMatch(line -> line.contains("does not name its data"));
        assertThat(policy("mixed")).isNotNull().isNotEqualTo(policy("plain"));
        try (PairSource data = PairSource.open(tiny.data())) {
            // The mean of 4/4 and 4/2.
            assertThat(PairWeights.read(mixed, data, message -> {}).weight(4)).isEqualTo(1.5);
        }
        Map<String, Object> step = tiny.log("mixed").getFirst();
        assertThat(step).containsKey("weighted_loss");
        // The policy is the reference at first: every pair loses log 2, whatever its weight.
        assertThat((double) step.get("loss")).isEqualTo(tiny.losses("plain")[0]);
        assertThat((double) step.get("weighted_loss")).isNotEqualTo((double) step.get("loss"));
        assertThat(tiny.log("plain").getFirst()).doesNotContainKey("weighted_loss");
        assertThat(tiny.log("mixed").stream()
                        .filter(event -> event.get("event").equals("evaluation"))
                        .toList())
                .hasSize(2)
                .allSatisfy(event -> assertThat(event).doesNotContainKey("weighted_loss"));
        tiny.rename("mixed", "whole");
        tiny.runInTwo(tiny.recipe("mixed", with(evaluated, "labels.weights=" + mixed)), 4);
        tiny.assertSame("mixed", tiny.left("whole"));
    }

    @Test
    void aWrongWeightIsNamed() throws IOException, SQLException {
        List<List<String>> wrong = List.of(
                List.of("CASE row WHEN 3 THEN -1 ELSE 1 END AS weight_0, 1 AS weight_1", "row 3: weight_0", "-1.0"),
                List.of("1 AS weight_0, CASE row WHEN 4 THEN 'NaN'::DOUBLE ELSE 1 END AS weight_1", "row 4: weight_1"),
                List.of("1 AS weight_0, CASE row WHEN 5 THEN NULL ELSE 1 END AS weight_1", "row 5: weight_1", "null"),
                List.of(
                        "1 AS weight_0, CASE row WHEN 6 THEN 'inf'::DOUBLE ELSE 1 END AS weight_1",
                        "row 6",
                        "Infinity"),
                List.of("0 AS weight_0, 0 AS weight_1", "expected a weight above 0, found 0 for every pair"),
                List.of("1 AS weight_0", "expected Parquet with row, weight_0 and weight_1"));
        for (List<String> one : wrong) {
            Path file = parquet("w" + wrong.indexOf(one) + ".parquet", "", one.getFirst());
            assertRefused(file, one.subList(1, one.size()).toArray(String[]::new));
        }
        Path file = parquet("short.parquet", "", "1 AS weight_0, 1 AS weight_1");
        tiny = TinyRun.in(temporary.resolve("more"), PAIRS + 2);
        assertRefused(file, "expected a row for each of the 11 pairs, found none for row 9");
        Path other =
                parquet("other.parquet", ", KV_METADATA {'smpo.data_digest': 'x'}", "1 AS weight_0, 1 AS weight_1");
        assertRefused(other, "found weights of other data (digest x)");
        tiny = TinyRun.in(temporary.resolve("fewer"), PAIRS - 2);
        assertRefused(file, "expected rows 0 to 6, found 7");
    }

    private void assertRefused(Path file, String... parts) {
        assertThatThrownBy(() -> run("refused" + file.getFileName(), with(DPO, "labels.weights=" + file)))
                .as(file.toString())
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll(parts);
    }

    /// Margins are those of the scores in the data, where winners score higher; one pair has none.
    @Test
    void capoTrainsOnMargins() throws IOException, InterruptedException {
        int[] number = {0};
        rewrite(line -> number[0]++ == 8 ? line.replaceAll(", \"score_.*}", "}") : line);
        String[] capo = with(CAPO, "evaluate.every=3", "train.steps=6");
        TinyRun.Said said = run("run", capo);
        assertThat(said.messages)
                .anyMatch(
                        line -> line.contains("8 pairs to train on or hold out") && line.contains("1 without scores"));
        Map<String, Object> first = tiny.log("run").getFirst();
        // The policy is the reference at first: the logit is 0 and the error is the margin.
        double margin = (double) first.get("margin_error");
        assertThat(margin).isBetween(0.01, 1.0);
        assertThat((double) first.get("loss")).isBetween(margin * margin, margin);
        assertThat(first).containsEntry("margin_overshoot", 0.0).containsEntry("negative_margins", 0.0);
        assertThat(tiny.losses("run")[5]).isNotEqualTo(tiny.losses("run")[0]);
        Map<String, Object> evaluation = tiny.log("run").stream()
                .filter(event -> event.get("event").equals("evaluation"))
                .findFirst()
                .orElseThrow();
        assertThat(evaluation).containsKeys("margin_error", "margin_overshoot", "negative_margins");
        tiny.rename("run", "whole");
        tiny.runInTwo(tiny.recipe("run", capo), 4);
        tiny.assertSame("run", tiny.left("whole"));
        // People against the scores: a margin below 0 is trained on and counted.
        rewrite(line -> line.replace("\"label\": 0", "\"label\": @")
                .replace("\"label\": 1", "\"label\": 0")
                .replace("@", "1"));
        run("against", capo);
        assertThat(tiny.log("against").getFirst())
                .containsEntry("negative_margins", 1.0)
                .containsEntry("margin_overshoot", 1.0);
        // By the scores, the winner is the one of before.
        run("reward", with(capo, "labels.winner=reward", "labels.range=data"));
        assertThat(tiny.log("reward").getFirst()).containsEntry("negative_margins", 0.0);
    }

    @Test
    void capoNeedsScores() throws IOException {
        rewrite(line -> line.replaceAll(", \"score_.*}", "}"));
        assertThatThrownBy(() -> run("run", CAPO))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("labels.scores: capo needs two scores of a pair, and none of the 9 pairs");
        assertThatThrownBy(() -> run("run", with(CAPO, "labels.winner=reward", "labels.range=[0, 1]")))
                .hasMessageContaining("labels.scores: capo needs two scores of a pair");
    }

    /// A budget of 0 is exceeded by each winner that became worse, and one that is never reached by none.
    @Test
    void theLogCountsWinnersOverTheirBudget() throws IOException, InterruptedException {
        run("tight", with(DPO, "objective.bcr={lambda: 1, delta: 0}"));
        List<Map<String, Object>> steps = tiny.log("tight");
        assertThat(steps.getFirst()).containsEntry("winner_over_budget", 0.0);
        assertThat(IntStream.range(0, steps.size())
                        .mapToDouble(i -> (double) steps.get(i).get("winner_over_budget"))
                        .max()
                        .orElseThrow())
                .isGreaterThan(0);
        for (Map<String, Object> step : steps) {
            boolean worse = (double) step.get("winner_error") > (double) step.get("reference_winner_error");
            assertThat(worse && (double) step.get("winner_over_budget") == 0).isFalse();
        }
        run("wide", with(DPO, "objective.bcr={lambda: 1, delta: 1000}"));
        assertThat(tiny.log("wide")).allSatisfy(step -> assertThat(step).containsEntry("winner_over_budget", 0.0));
        run("npo", "objective={method: npo, beta: 2000, bcr: {lambda: 1, delta: 0}}", "inversion=none");
        assertThat(tiny.log("npo").getFirst()).containsKey("loser_over_budget");
        run("none", DPO);
        assertThat(tiny.log("none").getFirst()).doesNotContainKey("winner_over_budget");
    }
}
