package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.smpo.io.AtomicFiles;
import tools.jackson.databind.json.JsonMapper;

/// Preference pairs of a model's own images: of each prompt of an evaluation the image that a reward puts highest
/// and the one that it puts lowest.
///
/// They become a folder with `pairs.jsonl`, as [org.smpo.data.PairSource] reads it: the images are copied, the
/// better one is the label's, and both have their scores. The image of the lower seed comes first, so that place says
/// nothing.
public final class GeneratedPairs {
    /// The file that lists the pairs; written last, so where it is, the folder is whole.
    public static final String LIST = "pairs.jsonl";

    private static final String IMAGES = "pictures";
    private static final JsonMapper JSON = JsonMapper.shared();

    private final Path evaluation;
    private final String model;
    private final String metric;

    private GeneratedPairs(Path evaluation, String model, String metric) {
        this.evaluation = evaluation;
        this.model = model;
        this.metric = metric;
    }

    /// What was made.
    ///
    /// @param pairs that are written
    /// @param ties prompts without one: all of their images are equally good, or there is only one
    public record Made(int pairs, int ties) {}

    /// A image of a prompt.
    private record Scored(String file, long seed, double score) {}

    /// Writes the pairs of a finished evaluation.
    ///
    /// @param evaluation its folder
    /// @param model by its name there; null: the first
    /// @param metric by its name there
    /// @param target folder that is made, or empty
    /// @throws IllegalArgumentException when the evaluation has no such model or metric, saying which it has
    /// @throws IOException when the evaluation is not finished, a image is gone, or a file cannot be written
    public static Made write(Path evaluation, String model, String metric, Path target) throws IOException {
        Path results = evaluation.resolve("results.parquet");
        if (Files.notExists(results)) {
            throw new IOException(evaluation + ": expected a finished evaluation, found no results.parquet");
        }
        Properties options = new Properties();
        options.putAll(
                Map.of("threads", "1", "autoinstall_known_extensions", "false", "autoload_known_extensions", "false"));
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:", options)) {
            String file = "read_parquet('" + results.toString().replace("'", "''") + "')";
            List<String> metrics = texts(connection, "SELECT column_name FROM (DESCRIBE SELECT * FROM " + file + ")");
            metrics.removeAll(EvaluationRequest.RESERVED);
            require("measure", metric, metrics);
            List<String> models = texts(connection, "SELECT model FROM " + file).stream()
                    .distinct()
                    .toList();
            String chosen = model == null ? models.getFirst() : model;
            require("model", chosen, models);
            return new GeneratedPairs(evaluation, chosen, metric).write(connection, file, target);
        } catch (SQLException e) {
            throw new IOException(results + ": not read: " + e.getMessage(), e);
        }
    }

    private static List<String> texts(Connection connection, String query) throws SQLException {
        List<String> texts = new ArrayList<>();
        try (PreparedStatement statement = connection.prepareStatement(query);
                ResultSet rows = statement.executeQuery()) {
            while (rows.next()) {
                texts.add(rows.getString(1));
            }
        }
        return texts;
    }

    private static void require(String what, String name, List<String> names) {
        if (!names.contains(name)) {
            throw new IllegalArgumentException(
                    what + ": expected one of the evaluation's, " + String.join(", ", names) + "; got " + name);
        }
    }

    private Made write(Connection connection, String file, Path target) throws SQLException, IOException {
        Files.createDirectories(target.resolve(IMAGES));
        StringBuilder lines = new StringBuilder();
        int pairs = 0;
        int ties = 0;
        try (PreparedStatement statement = connection.prepareStatement("SELECT prompt_index, prompt, picture, seed, \""
                + metric.replace("\"", "\"\"") + "\" FROM " + file + " WHERE model = ? ORDER BY prompt_index, seed")) {
            statement.setString(1, model);
            try (ResultSet rows = statement.executeQuery()) {
                boolean more = rows.next();
                while (more) {
                    long prompt = rows.getLong(1);
                    String caption = rows.getString(2);
                    List<Scored> images = new ArrayList<>();
                    do {
                        images.add(new Scored(rows.getString(3), rows.getLong(4), rows.getDouble(5)));
                        more = rows.next();
                    } while (more && rows.getLong(1) == prompt);
                    String line = line(caption, prompt, images, target);
                    if (line == null) {
                        ties++;
                    } else {
                        lines.append(line).append('\n');
                        pairs++;
                    }
                }
            }
        }
        AtomicFiles.write(target.resolve(LIST), lines.toString());
        return new Made(pairs, ties);
    }

    /// Copies a pair's images.
    ///
    /// @param images of one prompt, by seed
    /// @return its line, or null where none is better than another
    private String line(String caption, long prompt, List<Scored> images, Path target) throws IOException {
        Scored best = images.getFirst();
        Scored worst = images.getFirst();
        for (Scored image : images) {
            best = image.score > best.score ? image : best;
            worst = image.score < worst.score ? image : worst;
        }
        if (!(best.score > worst.score)) {
            return null;
        }
        boolean first = best.seed < worst.seed;
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("id", model + "-" + prompt);
        line.put("caption", caption);
        line.put("image_0", copied(prompt, first ? best : worst, target));
        line.put("image_1", copied(prompt, first ? worst : best, target));
        line.put("label", first ? 0 : 1);
        line.put("score_0", (first ? best : worst).score);
        line.put("score_1", (first ? worst : best).score);
        return JSON.writeValueAsString(line);
    }

    private String copied(long prompt, Scored image, Path target) throws IOException {
        String name = IMAGES + "/" + prompt + "-" + image.seed + ".png";
        Files.copy(evaluation.resolve(image.file), target.resolve(name), StandardCopyOption.REPLACE_EXISTING);
        return name;
    }
}
