package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.PairScores;
import org.smpo.data.PairSource;
import org.smpo.io.ParquetReader;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.TinyClip;
import org.smpo.parallel.Ranks;

final class ScoreRunTest {
    /// Tolerance of ClipModelTest.
    private static final double TOLERANCE = 1e-6;

    @TempDir
    private Path temporary;

    /// A reward computed from bytes and lengths, which fails at a chosen batch, as a killed process does.
    private static final class Arithmetic implements Reward {
        private final String digest;
        private final int last;
        private int calls;

        Arithmetic(String digest, int last) {
            this.digest = digest;
            this.last = last;
        }

        @Override
        public String kind() {
            return "arithmetic";
        }

        @Override
        public String digest() {
            return digest;
        }

        @Override
        public String preprocessing() {
            return "none";
        }

        @Override
        public double[] score(List<String> captions, List<RgbImage> images) {
            if (calls++ == last) {
                throw new IllegalStateException("killed");
            }
            double[] scores = new double[images.size()];
            for (int i = 0; i < scores.length; i++) {
                scores[i] = Arrays.hashCode(images.get(i).rgb()) * 0x1p-31
                        + captions.get(i).length() / 3.0;
            }
            return scores;
        }

        @Override
        public void close() {}
    }

    private static ScoreRun run(PairSource data, Reward reward, int batch) throws IOException {
        return new ScoreRun(data, reward, batch, Map.of("device", "cpu"), message -> {});
    }

    @Test
    void scoresEqualTheGoldenCosines() throws IOException {
        Path model = TinyClip.write(temporary.resolve("model"), "vit_h", 1);
        Path file = temporary.resolve("scores.parquet");
        try (PairSource data = PairSource.open(TinyPairs.write(temporary.resolve("data"), 9, List.of(4)));
                Reward reward = RewardSource.parse("pickscore:" + model).open("cpu", Precision.FP32, 2)) {
            List<Integer> done = new ArrayList<>();
            ScoreRun.Summary summary = run(data, reward, 4).run(file, false, (before, now, all) -> done.add(now));
            assertThat(done).containsExactly(4, 8, 9);
            assertThat(summary.scored()).isEqualTo(8);
            assertThat(summary.problems()).containsOnlyKeys(4);
            assertThat(summary.problems().get(4)).contains("pair-4", "bad.png");
            ScoreTable table = ScoreTable.read(file, data);
            assertThat(table.metadata())
                    .containsEntry("smpo.reward", "pickscore")
                    .containsEntry("smpo.model_digest", reward.digest())
                    .containsEntry("smpo.data_digest", data.fingerprint())
                    .containsEntry("smpo.preprocessing", reward.preprocessing())
                    .containsEntry("smpo.device", "cpu")
                    .containsEntry("smpo.rows", "9");
            double[][] want = TinyClip.scores("vit_h", "exact");
            for (int row = 0; row < 9; row++) {
                if (row == 4) {
                    assertThat(table.scores(row)).isEmpty();
                    assertThat(table.scores("pair-4")).isEmpty();
                    continue;
                }
                PairScores scores = table.scores(row).orElseThrow();
                double[] caption = want[row % want.length];
                assertThat(Math.abs(scores.score0() - caption[row % 6])).isLessThan(TOLERANCE);
                assertThat(Math.abs(scores.score1() - caption[(row + 1) % 6])).isLessThan(TOLERANCE);
                assertThat(Math.abs(scores.score0() - caption[(row + 1) % 6])).isGreaterThan(TOLERANCE);
                assertThat(table.scores("pair-" + row)).hasValue(scores);
            }
            assertThat(ScoreRun.journal(file)).doesNotExist();
            assertThatThrownBy(() -> reward.score(List.of("a"), List.of()))
                    .hasMessageContaining("as many captions as images, got 1 and 0");
        }
    }

    @Test
    void severalProcessesWriteTheSameBytes() throws IOException, InterruptedException {
        Path folder = TinyPairs.write(temporary.resolve("data"), 11, List.of(3, 10));
        Path whole = temporary.resolve("whole.parquet");
        try (PairSource data = PairSource.open(folder)) {
            run(data, new Arithmetic("m", -1), 2).run(whole, false, (before, done, all) -> {});
        }
        for (int ranks : new int[] {2, 3}) {
            Path file = temporary.resolve(ranks + ".parquet");
            List<Optional<ScoreRun.Summary>> summaries = Ranks.run(ranks, peers -> {
                try (PairSource data = PairSource.open(folder)) {
                    return run(data, new Arithmetic("m", -1), 2).run(file, false, peers, (before, done, all) -> {});
                }
            });
            assertThat(summaries.getFirst().orElseThrow().scored()).isEqualTo(9);
            assertThat(summaries.getLast()).isEmpty();
            assertThat(Files.readAllBytes(file)).isEqualTo(Files.readAllBytes(whole));
        }
        // The last rank fails in its second batch; another number of processes resumes.
        Path file = temporary.resolve("again.parquet");
        List<Ranks.Outcome<Optional<ScoreRun.Summary>>> outcomes = Ranks.outcomes(2, peers -> {
            try (PairSource data = PairSource.open(folder)) {
                return run(data, new Arithmetic("m", peers.world().rank() == 1 ? 1 : -1), 2)
                        .run(file, false, peers, (before, done, all) -> {});
            }
        });
        assertThat(outcomes.getFirst().message()).contains("rank 1 failed: killed");
        assertThat(outcomes.getLast().message()).isEqualTo("killed");
        assertThat(file).doesNotExist();
        List<Optional<ScoreRun.Summary>> resumed = Ranks.run(3, peers -> {
            try (PairSource data = PairSource.open(folder)) {
                return run(data, new Arithmetic("m", -1), 2).run(file, true, peers, (before, done, all) -> {});
            }
        });
        assertThat(resumed.getFirst().orElseThrow().resumed()).isEqualTo(4);
        assertThat(Files.readAllBytes(file)).isEqualTo(Files.readAllBytes(whole));
    }

    /// A run that stops before any batch, or whose journal is cut anywhere, ends with the same bytes.
    @Test
    void anInterruptedRunEndsWithTheSameBytes() throws IOException {
        Path whole = temporary.resolve("whole.parquet");
        try (PairSource data = PairSource.open(TinyPairs.write(temporary.resolve("data"), 11, List.of(3, 10)))) {
            run(data, new Arithmetic("m", -1), 3).run(whole, false, (before, done, all) -> {});
            byte[] want = Files.readAllBytes(whole);
            for (int stop = 0; stop < 4; stop++) {
                Path file = temporary.resolve("stopped-" + stop + ".parquet");
                Path journal = ScoreRun.journal(file);
                Arithmetic dies = new Arithmetic("m", stop);
                assertThatThrownBy(() -> run(data, dies, 3).run(file, false, (before, done, all) -> {}))
                        .hasMessage("killed");
                assertThat(file).doesNotExist();
                assertThat(journal).exists();
                assertThatThrownBy(
                                () -> run(data, new Arithmetic("m", -1), 3).run(file, false, (before, done, all) -> {}))
                        .hasMessageContaining("--resume");
                // A crash that cut the last write short.
                byte[] kept = Files.readAllBytes(journal);
                for (int cut : new int[] {1, 9, 40}) {
                    Files.write(journal, Arrays.copyOf(kept, kept.length - cut));
                    ScoreRun.Summary summary =
                            run(data, new Arithmetic("m", -1), 3).run(file, true, (before, done, all) -> {});
                    assertThat(summary.resumed()).isEqualTo(Math.max(0, 3 * (stop - 1)));
                    assertThat(Files.readAllBytes(file))
                            .as("stopped at %d, cut by %d", stop, cut)
                            .isEqualTo(want);
                    assertThat(journal).doesNotExist();
                    Files.delete(file);
                }
                Files.write(journal, kept);
                Arithmetic counted = new Arithmetic("m", -1);
                assertThat(run(data, counted, 3)
                                .run(file, true, (before, done, all) -> {})
                                .resumed())
                        .isEqualTo(3 * stop);
                assertThat(counted.calls).isEqualTo(4 - stop);
                assertThat(Files.readAllBytes(file)).isEqualTo(want);
                // Everything is finished: nothing is scored again or overwritten.
                assertThat(run(data, new Arithmetic("m", 0), 3)
                                .run(file, true, (before, done, all) -> {})
                                .scored())
                        .isEqualTo(9);
                assertThatThrownBy(
                                () -> run(data, new Arithmetic("m", -1), 3).run(file, false, (before, done, all) -> {}))
                        .hasMessageContaining("expected no file, found one");
            }
            // Another score changes the bytes.
            Path other = temporary.resolve("other.parquet");
            run(data, new Arithmetic("other", -1), 3).run(other, false, (before, done, all) -> {});
            assertThat(Files.readAllBytes(other)).isNotEqualTo(want);
        }
    }

    @Test
    void anotherRunIsNotResumed() throws IOException {
        Path file = temporary.resolve("scores.parquet");
        try (PairSource data = PairSource.open(TinyPairs.write(temporary.resolve("data"), 4, List.of()));
                PairSource more = PairSource.open(TinyPairs.write(temporary.resolve("more"), 5, List.of()))) {
            Arithmetic dies = new Arithmetic("m", 1);
            assertThatThrownBy(() -> run(data, dies, 2).run(file, false, (before, done, all) -> {}))
                    .hasMessage("killed");
            assertThatThrownBy(() -> run(data, new Arithmetic("n", -1), 2).run(file, true, (before, done, all) -> {}))
                    .hasMessageContaining("the same smpo.model_digest (n), found m");
            assertThatThrownBy(() -> run(data, new Arithmetic("m", -1), 3).run(file, true, (before, done, all) -> {}))
                    .hasMessageContaining("the same smpo.batch (3), found 2");
            assertThatThrownBy(() -> run(more, new Arithmetic("m", -1), 2).run(file, true, (before, done, all) -> {}))
                    .hasMessageContaining("the same smpo.data_digest");
            try (ScoreJournal held = ScoreJournal.open(
                    temporary.resolve("held.journal"), new TreeMap<>(Map.of("a", "b")), message -> {})) {
                assertThat(held.rows()).isEmpty();
                assertThatThrownBy(() -> ScoreJournal.open(
                                temporary.resolve("held.journal"), new TreeMap<>(Map.of("a", "b")), message -> {}))
                        .hasMessageContaining("no other process writes");
            }
            run(data, new Arithmetic("m", -1), 2).run(file, true, (before, done, all) -> {});
            assertThat(ScoreTable.read(file, data).size()).isEqualTo(4);
            assertThatThrownBy(() -> ScoreTable.read(file, more))
                    .hasMessageContaining("expected scores of this data (5 records")
                    .hasMessageContaining("found scores of other data (4 records");
        }
    }

    /// A file that can be read but has other scores.
    @Test
    void changedScoresAreNoticed() throws IOException, SQLException {
        Path file = temporary.resolve("s.parquet");
        TreeMap<String, String> metadata = new TreeMap<>(Map.of("smpo.format", ScoreTable.CURRENT, "smpo.rows", "1"));
        for (String key : List.of("reward", "model_digest", "data_digest", "preprocessing")) {
            metadata.put("smpo." + key, "1");
        }
        ScoreFile.write(file, List.of(ScoredPair.of(0, "a", 0.1, -0.2)), metadata);
        assertThat(ScoreTable.read(file).scores(0)).hasValue(new PairScores(0.1, -0.2));
        String digest;
        try (ParquetReader parquet = ParquetReader.open()) {
            digest = parquet.metadata(file).get("smpo.rows_sha256");
        }
        metadata.put("smpo.rows_sha256", digest);
        rewrite(file, "0.2", metadata);
        assertThatThrownBy(() -> ScoreTable.read(file)).hasMessageContaining("expected rows of the digest " + digest);
        rewrite(file, "0.1", metadata);
        assertThat(ScoreTable.read(file).size()).isEqualTo(1);
        metadata.remove("smpo.rows_sha256");
        rewrite(file, "0.1", metadata);
        assertThatThrownBy(() -> ScoreTable.read(file)).hasMessageContaining("expected rows of the digest null");
    }

    private static void rewrite(Path file, String score, Map<String, String> metadata) throws SQLException {
        String pairs = metadata.entrySet().stream()
                .map(entry -> "'" + entry.getKey() + "': '" + entry.getValue() + "'")
                .collect(Collectors.joining(", "));
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                Statement statement = connection.createStatement()) {
            statement.execute(
                    "COPY (SELECT 'a' AS id, 0::BIGINT AS row, " + score + "::DOUBLE AS score_0, -0.2::DOUBLE AS"
                            + " score_1) TO '" + file + "' (FORMAT parquet, KV_METADATA {" + pairs + "})");
        }
    }

    /// File names are names, not patterns.
    @Test
    void aNameWithBracketsIsItsOwnFile() throws IOException {
        TreeMap<String, String> metadata = new TreeMap<>(Map.of("smpo.format", "2"));
        ScoredPair right = ScoredPair.of(0, "right", 1, 2);
        ScoreFile.write(temporary.resolve("s1.parquet"), List.of(ScoredPair.of(0, "wrong", 3, 4)), metadata);
        for (String name : List.of("s[1].parquet", "s?.parquet", "s*.parquet")) {
            ScoreFile.write(temporary.resolve(name), List.of(right), metadata);
            assertThat(ScoreFile.read(temporary.resolve(name)).rows()).containsExactly(right);
        }
    }

    /// A process was killed after it wrote the file and before it deleted its journal.
    @Test
    void aFinishedFileWithItsJournalIsFinished() throws IOException {
        Path file = temporary.resolve("scores.parquet");
        try (PairSource data = PairSource.open(TinyPairs.write(temporary.resolve("data"), 4, List.of()))) {
            Arithmetic dies = new Arithmetic("m", 1);
            assertThatThrownBy(() -> run(data, dies, 2).run(file, false, (before, done, all) -> {}))
                    .hasMessage("killed");
            byte[] journal = Files.readAllBytes(ScoreRun.journal(file));
            run(data, new Arithmetic("m", -1), 2).run(file, true, (before, done, all) -> {});
            byte[] want = Files.readAllBytes(file);
            Files.write(ScoreRun.journal(file), journal);
            assertThat(run(data, new Arithmetic("m", 0), 2)
                            .run(file, true, (before, done, all) -> {})
                            .scored())
                    .isEqualTo(4);
            assertThat(Files.readAllBytes(file)).isEqualTo(want);
            assertThat(ScoreRun.journal(file)).doesNotExist();
        }
    }

    @Test
    void damagedTablesAreErrors() throws IOException {
        Path file = temporary.resolve("x'y.parquet");
        assertThatThrownBy(() -> ScoreTable.read(file)).hasMessageContaining("found nothing");
        Files.writeString(file, "no parquet");
        assertThatThrownBy(() -> ScoreTable.read(file)).hasMessageContaining("expected a readable Parquet file");
        ScoredPair pair = ScoredPair.of(0, "it's", 0.1, -0.2);
        ScoreFile.write(file, List.of(pair), new TreeMap<>(Map.of("smpo.format", "1", "smpo.it's", "a 'b'")));
        assertThat(ScoreFile.read(file).rows()).containsExactly(pair);
        assertThat(ScoreFile.read(file).metadata()).containsEntry("smpo.it's", "a 'b'");
        assertThatThrownBy(() -> ScoreTable.read(file)).hasMessageContaining("expected the metadata smpo.reward");
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.truncate(channel.size() / 2);
        }
        assertThatThrownBy(() -> ScoreTable.read(file)).isInstanceOf(IOException.class);
        TreeMap<String, String> metadata = new TreeMap<>();
        for (String key : List.of("format", "reward", "model_digest", "data_digest", "preprocessing")) {
            metadata.put("smpo." + key, "1");
        }
        metadata.put("smpo.rows", "2");
        ScoreFile.write(file, List.of(pair), metadata);
        assertThatThrownBy(() -> ScoreTable.read(file)).hasMessageContaining("expected 2 rows, found 1");
        ScoreFile.write(file, List.of(pair, ScoredPair.of(1, "it's", 1, 2)), metadata);
        ScoreTable table = ScoreTable.read(file);
        assertThat(table.scores(1)).hasValue(new PairScores(1, 2));
        assertThat(table.scores("nobody")).isEmpty();
        assertThatThrownBy(() -> table.scores("it's")).hasMessageContaining("several records have the id it's");
        ScoreFile.write(file, List.of(pair, ScoredPair.of(2, "b", 1, 2)), metadata);
        assertThatThrownBy(() -> ScoreTable.read(file)).hasMessageContaining("found 2 at position 1");
    }
}
