package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.smpo.reward.RewardKind;

/// A table of results as [ResultsFile] writes it, with files in place of images; the text of a file is the place of the
/// image among all.
public final class FakeEvaluation {
    private final Path folder;
    private final List<String> metrics;
    private final List<String> rows = new ArrayList<>();
    private final Map<String, RewardKind> kinds = new TreeMap<>();

    public FakeEvaluation(Path folder, String... metrics) throws IOException {
        this.folder = folder;
        this.metrics = List.of(metrics);
        Files.createDirectories(folder.resolve("pictures"));
    }

    /// Adds an image with its scores; NaN and infinite ones, too.
    public void add(String model, int prompt, String caption, long seed, double... scores) throws IOException {
        String file = "pictures/" + rows.size() + ".png";
        Files.writeString(folder.resolve(file), "image " + rows.size());
        rows.add("('%s', %d, '%s', %d, '%s', %s)"
                .formatted(
                        model,
                        prompt,
                        caption,
                        seed,
                        file,
                        Arrays.stream(scores)
                                .mapToObj(score -> "'" + score + "'::DOUBLE")
                                .collect(Collectors.joining(", "))));
    }

    /// Records the kind of a reward.
    void reward(String metric, RewardKind kind) {
        kinds.put(metric, kind);
    }

    public void write() throws SQLException {
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE results(model VARCHAR, prompt_index BIGINT, prompt VARCHAR, seed BIGINT,"
                    + " picture VARCHAR, "
                    + metrics.stream().map(metric -> metric + " DOUBLE").collect(Collectors.joining(", ")) + ")");
            statement.execute("INSERT INTO results VALUES " + String.join(", ", rows));
            String metadata = kinds.entrySet().stream()
                    .map(kind -> "'smpo.reward_kind." + kind.getKey() + "': '"
                            + kind.getValue().id() + "'")
                    .collect(Collectors.joining(", "));
            statement.execute("COPY results TO '" + folder.resolve("results.parquet") + "' (FORMAT parquet"
                    + (kinds.isEmpty() ? "" : ", KV_METADATA {" + metadata + "}") + ")");
        }
    }
}
