package org.smpo.reward;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import org.smpo.io.Digest;
import org.smpo.io.ParquetReader;
import org.smpo.io.ParquetWriter;
import org.smpo.io.ParquetWriter.Column;

/// A Parquet file of scores: columns `id` (text), `row` (int64), `score_0`, `score_1` (float64, null
/// where the pair is bad), ordered by row. Its key-value metadata records what the scores were computed
/// from. Equal rows and metadata give equal bytes. The metadata also has a digest of the rows, so that a
/// damaged file is noticed; files of formats 1 and 2 have none.
final class ScoreFile {
    private static final List<Column> COLUMNS =
            List.of(Column.text("id"), Column.integer("row"), Column.number("score_0"), Column.number("score_1"));

    private static final String ROWS_DIGEST = "smpo.rows_sha256";

    private ScoreFile() {}

    record Content(List<ScoredPair> rows, SortedMap<String, String> metadata) {}

    /// Writes a file, whole or not at all.
    ///
    /// @param rows ordered by row
    static void write(Path target, List<ScoredPair> rows, SortedMap<String, String> metadata) throws IOException {
        SortedMap<String, String> all = new TreeMap<>(metadata);
        all.put(ROWS_DIGEST, digest(rows));
        ParquetWriter.write(target, COLUMNS, all, writer -> {
            for (ScoredPair pair : rows) {
                writer.add(
                        pair.id(),
                        pair.row(),
                        pair.scored() ? (Double) pair.score0() : null,
                        pair.scored() ? (Double) pair.score1() : null);
            }
        });
    }

    /// SHA-256 of the rows: row, id and scores of each.
    private static String digest(List<ScoredPair> rows) {
        Digest digest = new Digest();
        for (ScoredPair pair : rows) {
            byte[] id = pair.id().getBytes(StandardCharsets.UTF_8);
            digest.update(ByteBuffer.allocate(3 * Long.BYTES + Integer.BYTES + id.length)
                    .putLong(pair.row())
                    .putLong(Double.doubleToLongBits(pair.score0()))
                    .putLong(Double.doubleToLongBits(pair.score1()))
                    .putInt(id.length)
                    .put(id)
                    .flip());
        }
        return digest.hex();
    }

    /// Reads a file.
    ///
    /// @throws IOException when it is not Parquet, lacks a column, has values that are not scores,
    ///     or is damaged
    static Content read(Path file) throws IOException {
        try (ParquetReader parquet = ParquetReader.open()) {
            SortedMap<String, String> metadata = new TreeMap<>(parquet.metadata(file));
            metadata.keySet().removeIf(key -> !key.startsWith("smpo."));
            for (Column column : COLUMNS) {
                if (!parquet.columns(file).containsKey(column.name())) {
                    throw new IOException(file + ": expected Parquet with id, row, score_0 and score_1, found columns "
                            + String.join(", ", parquet.columns(file).keySet()));
                }
            }
            List<ScoredPair> rows = new ArrayList<>();
            parquet.read(
                    file,
                    List.of("id::VARCHAR", "\"row\"::BIGINT", "score_0::DOUBLE", "score_1::DOUBLE"),
                    (place, values) -> rows.add(
                            row(file, (String) values.get(0), (Long) values.get(1), (Double) values.get(2), (Double)
                                    values.get(3))));
            rows.sort(Comparator.comparingLong(ScoredPair::row));
            String recorded = metadata.remove(ROWS_DIGEST);
            boolean mustHave = ScoreTable.CURRENT.equals(metadata.get(ScoreTable.FORMAT));
            if (recorded == null ? mustHave : !recorded.equals(digest(rows))) {
                throw new IOException(file + ": expected rows of the digest " + recorded + ", found " + digest(rows)
                        + ": the file is damaged; restore it, or score the data again");
            }
            return new Content(rows, metadata);
        }
    }

    private static ScoredPair row(Path file, String id, Long row, Double score0, Double score1) throws IOException {
        boolean finite = (score0 == null || Double.isFinite(score0)) && (score1 == null || Double.isFinite(score1));
        if (id == null || row == null || (score0 == null) != (score1 == null) || !finite) {
            throw new IOException(
                    file + ": row " + row + ": expected an id, a row and two finite scores or none, found " + id + ", "
                            + row + ", " + score0 + ", " + score1);
        }
        return score0 == null ? ScoredPair.bad(row, id, "not scored") : ScoredPair.of(row, id, score0, score1);
    }
}
