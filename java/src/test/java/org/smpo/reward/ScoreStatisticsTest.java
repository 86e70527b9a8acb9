package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Statistics leave bad records out.
final class ScoreStatisticsTest {
    @TempDir
    private Path temporary;

    private ScoreTable table(ScoredPair... rows) throws IOException {
        Path file = temporary.resolve("scores.parquet");
        Map<String, String> metadata = Map.of(
                ScoreTable.FORMAT,
                ScoreTable.CURRENT,
                ScoreTable.REWARD,
                "clip",
                ScoreTable.MODEL,
                "m",
                ScoreTable.DATA,
                "d",
                ScoreTable.ROWS,
                String.valueOf(rows.length),
                ScoreTable.PREPROCESSING,
                "none");
        ScoreFile.write(file, List.of(rows), new TreeMap<>(metadata));
        return ScoreTable.read(file);
    }

    @Test
    void badRecordsAreLeftOut() throws IOException {
        ScoreTable table = table(
                ScoredPair.of(0, "a", 0.25, -1.5),
                ScoredPair.bad(1, "b", "broken"),
                ScoredPair.of(2, "c", 0.5, 2),
                ScoredPair.of(3, "d", 1, 1));
        assertThat(table.statistics()).contains(new ScoreStatistics(-1.5, 2, 1 / 3.0));
    }

    @Test
    void badRecordsAloneHaveNone() throws IOException {
        assertThat(table(ScoredPair.bad(0, "a", "broken")).statistics()).isEmpty();
    }
}
