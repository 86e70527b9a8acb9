package org.smpo.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.PairSource;
import org.smpo.data.PreferencePair;

/// Pairs from a table of results as [ResultsFile] writes it, with files in place of images.
final class GeneratedPairsTest {
    @TempDir
    private Path temporary;

    private Path evaluation;

    @BeforeEach
    void write() throws IOException, SQLException {
        evaluation = Files.createDirectories(temporary.resolve("evaluation/pictures"))
                .getParent();
        for (int i = 0; i < 9; i++) {
            Files.writeString(evaluation.resolve("pictures/" + i + ".png"), "image " + i);
        }
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE results(model VARCHAR, prompt_index BIGINT, prompt VARCHAR, seed BIGINT,"
                    + " picture VARCHAR, reward DOUBLE, checker DOUBLE)");
            statement.execute("INSERT INTO results VALUES"
                    + " ('zero', 0, 'a \"cat\"', 5, 'pictures/0.png', 0.25, 1),"
                    + " ('zero', 0, 'a \"cat\"', 6, 'pictures/1.png', -0.5, 1),"
                    + " ('zero', 0, 'a \"cat\"', 7, 'pictures/2.png', 0.125, 0),"
                    + " ('zero', 1, 'a dog', 9, 'pictures/3.png', 1, 0),"
                    + " ('zero', 1, 'a dog', 8, 'pictures/4.png', 2, 1),"
                    + " ('zero', 2, 'alone', 8, 'pictures/5.png', 2, 1),"
                    + " ('one', 0, 'a \"cat\"', 5, 'pictures/6.png', 1, 0),"
                    + " ('one', 0, 'a \"cat\"', 6, 'pictures/7.png', 2, 0)");
            statement.execute("COPY results TO '" + evaluation.resolve("results.parquet") + "' (FORMAT parquet)");
        }
    }

    @Test
    void eachPromptGivesItsBestAgainstItsWorst() throws Exception {
        Path out = temporary.resolve("out");
        assertThat(GeneratedPairs.write(evaluation, null, "reward", out)).isEqualTo(new GeneratedPairs.Made(2, 1));
        assertThat(out.resolve(GeneratedPairs.LIST)).hasContent("""
            {"id":"zero-0","caption":"a \\"cat\\"","image_0":"pictures/0-5.png","image_1":"pictures/0-6.png","label":0,"score_0":0.25,"score_1":-0.5}
            {"id":"zero-1","caption":"a dog","image_0":"pictures/1-8.png","image_1":"pictures/1-9.png","label":0,"score_0":2.0,"score_1":1.0}
            """);
        assertThat(out.resolve("pictures/0-6.png")).hasContent("image 1");
        try (PairSource source = PairSource.open(out)) {
            assertThat(source.read(0)).isInstanceOf(PreferencePair.class);
            assertThat(((PreferencePair) source.read(0)).caption()).isEqualTo("a \"cat\"");
            assertThat(source.size()).isEqualTo(2);
        }
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
            assertThatThrownBy(() -> GeneratedPairs.write(evaluation, null, "reward", out))
                    .hasMessageContaining("results.parquet: column ")
                    .hasMessageContaining("found " + name);
            assertThat(out.resolve("pictures/0-5.png")).doesNotExist();
        }
    }

    @Test
    void anotherModelAndAnotherMetric() throws IOException {
        Path out = temporary.resolve("out");
        assertThat(GeneratedPairs.write(evaluation, "one", "reward", out)).isEqualTo(new GeneratedPairs.Made(1, 0));
        assertThat(Files.readString(out.resolve(GeneratedPairs.LIST))).contains("\"label\":1", "0-5.png", "one-0");
        assertThat(GeneratedPairs.write(evaluation, "one", "checker", temporary.resolve("none")))
                .isEqualTo(new GeneratedPairs.Made(0, 1));
        assertThat(GeneratedPairs.write(evaluation, "zero", "checker", temporary.resolve("other")))
                .isEqualTo(new GeneratedPairs.Made(2, 1));
    }

    @Test
    void whatIsMissingIsNamed() throws IOException {
        Path out = temporary.resolve("out");
        assertThatThrownBy(() -> GeneratedPairs.write(evaluation, null, "prompt", out))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("metric: expected one of the evaluation's, reward, checker; got prompt");
        assertThatThrownBy(() -> GeneratedPairs.write(evaluation, "three", "reward", out))
                .hasMessage("model: expected one of the evaluation's, zero, one; got three");
        assertThatThrownBy(() -> GeneratedPairs.write(temporary, null, "reward", out))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("expected a finished evaluation");
        Files.delete(evaluation.resolve("pictures/4.png"));
        assertThatThrownBy(() -> GeneratedPairs.write(evaluation, null, "reward", out))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("4.png");
        assertThat(out.resolve(GeneratedPairs.LIST)).doesNotExist();
    }
}
