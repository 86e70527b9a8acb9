package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import org.smpo.data.PairScores;
import org.smpo.data.PairSource;

/// A data set's scores in memory, by row and by id.
public final class ScoreTable {
    /// Names of the metadata that say what the scores are of.
    static final String FORMAT = "smpo.format";

    static final String REWARD = "smpo.reward";
    static final String MODEL = "smpo.model_digest";
    static final String DATA = "smpo.data_digest";
    static final String ROWS = "smpo.rows";
    static final String PREPROCESSING = "smpo.preprocessing";

    private static final int AMBIGUOUS = -1;

    private final Path file;
    private final SortedMap<String, String> metadata;
    private final double[] score0;
    private final double[] score1;
    private final Map<String, Integer> byId;

    private ScoreTable(Path file, SortedMap<String, String> metadata, List<ScoredPair> rows) {
        this.file = file;
        this.metadata = Collections.unmodifiableSortedMap(metadata);
        score0 = new double[rows.size()];
        score1 = new double[rows.size()];
        byId = new HashMap<>();
        for (int row = 0; row < rows.size(); row++) {
            ScoredPair pair = rows.get(row);
            score0[row] = pair.score0();
            score1[row] = pair.score1();
            byId.merge(pair.id(), row, (one, other) -> AMBIGUOUS);
        }
    }

    /// Reads the scores of a data set.
    ///
    /// @throws IOException when the file is no file of scores, or was made from other data
    public static ScoreTable read(Path file, PairSource data) throws IOException {
        ScoreTable table = read(file);
        table.requireData(data.fingerprint(), data.size());
        return table;
    }

    /// Reads scores of whatever data.
    ///
    /// @throws IOException when the file is no file of scores
    public static ScoreTable read(Path file) throws IOException {
        ScoreFile.Content content = ScoreFile.read(file);
        for (String key : List.of(FORMAT, REWARD, MODEL, DATA, ROWS, PREPROCESSING)) {
            if (!content.metadata().containsKey(key)) {
                throw new IOException(file + ": expected the metadata " + key + ", which smpo score writes, found "
                        + content.metadata().keySet());
            }
        }
        for (int row = 0; row < content.rows().size(); row++) {
            if (content.rows().get(row).row() != row) {
                throw new IOException(file + ": expected rows 0, 1, 2, ..., found "
                        + content.rows().get(row).row() + " at place " + row);
            }
        }
        if (!content.metadata().get(ROWS).equals(String.valueOf(content.rows().size()))) {
            throw new IOException(file + ": expected " + content.metadata().get(ROWS) + " rows, found "
                    + content.rows().size());
        }
        return new ScoreTable(file, content.metadata(), content.rows());
    }

    /// Refuses scores of other data.
    ///
    /// @param digest the data's fingerprint
    /// @param size how many records it has
    /// @throws IOException when they are not this data's
    void requireData(String digest, int size) throws IOException {
        if (!digest.equals(metadata.get(DATA)) || size != score0.length) {
            throw new IOException(file + ": expected scores of this data (" + size + " records, digest " + digest
                    + "), found those of other data (" + score0.length + " records, digest " + metadata.get(DATA)
                    + "): score it again");
        }
    }

    /// What the scores were made from: `smpo.reward`, `smpo.model_digest`, `smpo.data_digest`, `smpo.preprocessing`
    /// and more.
    public SortedMap<String, String> metadata() {
        return metadata;
    }

    /// How many records the data has.
    public int size() {
        return score0.length;
    }

    /// The scores of the record at a place; empty when it is bad.
    ///
    /// @throws IndexOutOfBoundsException when there is no such place
    public Optional<PairScores> scores(int row) {
        return Double.isNaN(score0[row]) ? Optional.empty() : Optional.of(new PairScores(score0[row], score1[row]));
    }

    /// The scores of the record with a name; empty when there is none, or it is bad.
    ///
    /// @throws IllegalArgumentException when several records have the name
    public Optional<PairScores> scores(String id) {
        Integer row = byId.get(id);
        if (row == null) {
            return Optional.empty();
        }
        if (row == AMBIGUOUS) {
            throw new IllegalArgumentException(file + ": several records are called " + id + ": ask by row");
        }
        return scores((int) row);
    }
}
