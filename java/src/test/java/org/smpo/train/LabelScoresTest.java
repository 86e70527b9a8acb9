package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.PairSource;
import org.smpo.io.RgbImage;
import org.smpo.reward.Reward;
import org.smpo.reward.ScoreRun;
import org.smpo.reward.ScoreTable;

/// The published range of scores is that of PickScore, and training applies it only to scores of
/// PickScore.
final class LabelScoresTest {
    @TempDir
    private Path temporary;

    private TinyRun tiny;

    @BeforeEach
    void write() throws IOException {
        tiny = TinyRun.in(temporary, 8);
    }

    /// A reward: the brightness of the first pixel.
    private record Brightness(String kind) implements Reward {
        @Override
        public String digest() {
            return "brightness";
        }

        @Override
        public String preprocessing() {
            return "none";
        }

        @Override
        public double[] score(List<String> captions, List<RgbImage> images) {
            return images.stream()
                    .mapToDouble(image -> (image.rgb()[0] & 0xff) / 255.0)
                    .toArray();
        }

        @Override
        public void close() {}
    }

    private Path scores(String kind) throws IOException {
        Path file = temporary.resolve(kind + ".parquet");
        try (PairSource data = PairSource.open(tiny.data())) {
            new ScoreRun(data, new Brightness(kind), 4, Map.of(), message -> {})
                    .run(file, false, (before, done, all) -> {});
        }
        return file;
    }

    private List<String> open(Path scores, String... overrides) throws IOException {
        String[] all = java.util.Arrays.copyOf(overrides, overrides.length + 1);
        all[overrides.length] = "labels.scores=" + scores;
        TinyRun.Said said = new TinyRun.Said();
        DryRun.open(tiny.recipe("run", all), tiny.cache(), said).close();
        return said.messages;
    }

    @Test
    void thePublishedRangeIsForPickScoreAlone() throws IOException {
        Path other = scores("brightness");
        assertThatThrownBy(() -> open(other, "labels.range=published"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("labels.range: expected data or [minimum, maximum] for scores of brightness")
                .hasMessageContaining("found published, which is the range of pickscore: set labels.range to data");
        open(other, "labels.range=data");
        open(other, "labels.range=[0, 1]");
        open(scores("pickscore"), "labels.range=published");
        // Diffusion-DPO uses only the winner, so no range is applied.
        open(other, "labels.range=published", "objective={method: dpo, beta: 2000}", "inversion=none");
    }

    /// Files of earlier versions name every reward pickscore. They are read with a notice.
    @Test
    void aFileThatDoesNotNameItsRewardIsReadWithANotice() throws IOException, SQLException {
        Path now = scores("brightness");
        Path before = temporary.resolve("before.parquet");
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                Statement statement = connection.createStatement()) {
            StringBuilder metadata = new StringBuilder();
            ScoreTable.read(now)
                    .metadata()
                    .forEach((key, value) -> metadata.append(metadata.isEmpty() ? "" : ", ")
                            .append("'" + key + "': '")
                            .append(key.equals("smpo.format") ? "1" : key.equals("smpo.reward") ? "pickscore" : value)
                            .append("'"));
            statement.execute("COPY (SELECT * FROM read_parquet('" + now + "')) TO '" + before
                    + "' (FORMAT parquet, KV_METADATA {" + metadata + "})");
        }
        assertThat(ScoreTable.read(before).reward()).isEmpty();
        assertThat(open(before, "labels.range=published"))
                .anyMatch(line -> line.contains("does not name its reward") && line.contains("pickscore alone"));
        assertThat(open(before, "labels.range=data")).noneMatch(line -> line.contains("does not name its reward"));
    }
}
