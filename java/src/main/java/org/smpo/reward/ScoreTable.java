package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import org.smpo.data.PairScores;
import org.smpo.data.PairSource;

/// The scores of a dataset in memory, by row and by id.
public final class ScoreTable {
    /// Version of the file's metadata. Format 1 named every reward `pickscore`; format 2 names its kind;
    /// format 3 adds a digest of the rows.
    static final String FORMAT = "smpo.format";

    static final String CURRENT = "3";
    private static final String UNNAMED = "1";
    private static final List<String> READABLE = List.of(UNNAMED, "2", CURRENT);

    static final String REWARD = "smpo.reward";
    static final String MODEL = "smpo.model_digest";
    static final String DATA = PairSource.DIGEST_KEY;
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

    /// Reads the scores of a dataset.
    ///
    /// @throws IOException when the file is not a score file or holds the scores of other data
    public static ScoreTable read(Path file, PairSource data) throws IOException {
        ScoreTable table = read(file);
        table.requireData(data.fingerprint(), data.size());
        return table;
    }

    /// Reads scores without checking which data they belong to.
    ///
    /// @throws IOException when the file is not a score file
    public static ScoreTable read(Path file) throws IOException {
        ScoreFile.Content content = ScoreFile.read(file);
        for (String key : List.of(FORMAT, REWARD, MODEL, DATA, ROWS, PREPROCESSING)) {
            if (!content.metadata().containsKey(key)) {
                throw new IOException(file + ": expected the metadata " + key + ", which smpo score writes, found "
                        + content.metadata().keySet());
            }
        }
        String format = content.metadata().get(FORMAT);
        if (!READABLE.contains(format)) {
            throw new IOException(file + ": expected " + FORMAT + " 1 to " + CURRENT + ", found " + format
                    + ": read it with the version of smpo that wrote it, or score the data again");
        }
        for (int row = 0; row < content.rows().size(); row++) {
            if (content.rows().get(row).row() != row) {
                throw new IOException(file + ": expected rows 0, 1, 2, ..., found "
                        + content.rows().get(row).row() + " at position " + row);
            }
        }
        if (!content.metadata().get(ROWS).equals(String.valueOf(content.rows().size()))) {
            throw new IOException(file + ": expected " + content.metadata().get(ROWS) + " rows, found "
                    + content.rows().size());
        }
        return new ScoreTable(file, content.metadata(), content.rows());
    }

    /// Refuses the scores of other data.
    ///
    /// @param digest fingerprint of the data
    /// @param size number of records of the data
    /// @throws IOException when the scores belong to other data
    void requireData(String digest, int size) throws IOException {
        if (!digest.equals(metadata.get(DATA)) || size != score0.length) {
            throw new IOException(file + ": expected scores of this data (" + size + " records, digest " + digest
                    + "), found scores of other data (" + score0.length + " records, digest " + metadata.get(DATA)
                    + "): score it again");
        }
    }

    /// Returns the id of the kind of reward that made the scores, such as `pickscore`; empty for files of
    /// format 1, which do not say.
    public Optional<String> reward() {
        return metadata.get(FORMAT).equals(UNNAMED) ? Optional.empty() : Optional.of(metadata.get(REWARD));
    }

    /// Returns the first key in which the metadata of two runs differ. Their formats may differ. Where
    /// one has format 1, the reward is not compared: the digest of the model identifies it.
    static Optional<String> difference(Map<String, String> found, Map<String, String> wanted) {
        SortedMap<String, String> keys = new TreeMap<>(found);
        keys.putAll(wanted);
        if (UNNAMED.equals(found.get(FORMAT)) || UNNAMED.equals(wanted.get(FORMAT))) {
            keys.remove(REWARD);
        }
        keys.remove(FORMAT);
        return keys.keySet().stream()
                .filter(key -> !Objects.equals(found.get(key), wanted.get(key)))
                .findFirst();
    }

    /// Returns what the scores were made from: `smpo.reward`, `smpo.model_digest`, `smpo.data_digest`,
    /// `smpo.preprocessing` and more.
    public SortedMap<String, String> metadata() {
        return metadata;
    }

    /// Returns the number of records of the data.
    public int size() {
        return score0.length;
    }

    /// Returns the scores of the record at a row; empty when the record is bad.
    ///
    /// @throws IndexOutOfBoundsException when there is no such row
    public Optional<PairScores> scores(int row) {
        return Double.isNaN(score0[row]) ? Optional.empty() : Optional.of(new PairScores(score0[row], score1[row]));
    }

    /// Returns statistics of all scores; empty when every record is bad.
    public Optional<ScoreStatistics> statistics() {
        double lowest = Double.POSITIVE_INFINITY;
        double highest = Double.NEGATIVE_INFINITY;
        int scored = 0;
        int firstBetter = 0;
        for (int row = 0; row < size(); row++) {
            if (!Double.isNaN(score0[row])) {
                scored++;
                lowest = Math.min(lowest, Math.min(score0[row], score1[row]));
                highest = Math.max(highest, Math.max(score0[row], score1[row]));
                firstBetter += score0[row] > score1[row] ? 1 : 0;
            }
        }
        return scored == 0
                ? Optional.empty()
                : Optional.of(new ScoreStatistics(lowest, highest, (double) firstBetter / scored));
    }

    /// Returns the scores of the record with an id; empty when there is none or it is bad.
    ///
    /// @throws IllegalArgumentException when several records have the id
    public Optional<PairScores> scores(String id) {
        Integer row = byId.get(id);
        if (row == null) {
            return Optional.empty();
        }
        if (row == AMBIGUOUS) {
            throw new IllegalArgumentException(file + ": several records have the id " + id + ": ask by row");
        }
        return scores((int) row);
    }
}
