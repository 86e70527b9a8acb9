package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.smpo.io.ParquetReader;
import org.smpo.io.ParquetWriter;
import org.smpo.io.ParquetWriter.Column;

/// Weights of the pairs of a source: how strongly each of them is trained on. Immutable.
///
/// A weight file is Parquet with the columns `row`, `weight_0` and `weight_1`, and usually `id`: one row for every
/// record of the data, a weight for either image. The weight of a pair is the mean of the two. Its metadata may name
/// the data by [PairSource#DIGEST_KEY], as the files of `smpo score` do.
public final class PairWeights {
    private static final List<String> COLUMNS = List.of("row", "weight_0", "weight_1");

    private final double[] weights;

    private PairWeights(double[] weights) {
        this.weights = weights;
    }

    /// Reads the weights of a source.
    ///
    /// @param say receives a line when the file does not name its data
    /// @throws IOException when the file is not Parquet, lacks a column, belongs to other data, lacks a row, or has
    ///     a weight that is not a finite number of 0 or more, naming the row, or when all weights are 0
    public static PairWeights read(Path file, PairSource data, Consumer<String> say) throws IOException {
        try (ParquetReader parquet = ParquetReader.open()) {
            for (String column : COLUMNS) {
                if (!parquet.columns(file).containsKey(column)) {
                    throw new IOException(file + ": expected Parquet with row, weight_0 and weight_1, found columns "
                            + String.join(", ", parquet.columns(file).keySet()));
                }
            }
            String digest = parquet.metadata(file).get(PairSource.DIGEST_KEY);
            if (digest == null) {
                say.accept("labels.weights: " + file + " does not name its data; its rows are matched by number");
            } else if (!digest.equals(data.fingerprint())) {
                throw new IOException(file + ": expected weights of this data (digest " + data.fingerprint()
                        + "), found weights of other data (digest " + digest + "): weigh this data again");
            }
            double[] weights = new double[data.size()];
            Arrays.fill(weights, Double.NaN);
            parquet.read(
                    file,
                    List.of("\"row\"::BIGINT", "weight_0::DOUBLE", "weight_1::DOUBLE"),
                    (place, values) -> add(file, weights, values));
            for (int row = 0; row < weights.length; row++) {
                if (Double.isNaN(weights[row])) {
                    throw new IOException(file + ": expected a row for each of the " + weights.length
                            + " pairs, found none for row " + row + ": weigh this data again");
                }
            }
            if (Arrays.stream(weights).allMatch(weight -> weight == 0)) {
                throw new IOException(
                        file + ": expected a weight above 0, found 0 for every pair, so that none would be trained on");
            }
            return new PairWeights(weights);
        }
    }

    /// One row of a weight file.
    ///
    /// @param id id of the pair
    /// @param weight0 weight of image 0, 0 or more
    /// @param weight1 weight of image 1
    public record Row(String id, double weight0, double weight1) {
        /// The weight of the pair.
        public double mean() {
            return (weight0 + weight1) / 2;
        }
    }

    /// Writes a weight file, whole or not at all.
    ///
    /// @param data the pairs, which the file names
    /// @param rows a row for each pair, in order
    /// @param metadata further metadata of the file
    /// @throws IOException when the data cannot be read or the file cannot be written
    public static void write(Path target, PairSource data, List<Row> rows, SortedMap<String, String> metadata)
            throws IOException {
        if (rows.size() != data.size()) {
            throw new IllegalArgumentException(
                    "weights: expected a row for each of " + data.size() + " pairs, got " + rows.size());
        }
        SortedMap<String, String> all = new TreeMap<>(metadata);
        all.put(PairSource.DIGEST_KEY, data.fingerprint());
        List<Column> columns =
                List.of(Column.text("id"), Column.integer("row"), Column.number("weight_0"), Column.number("weight_1"));
        ParquetWriter.write(target, columns, all, writer -> {
            for (int row = 0; row < rows.size(); row++) {
                writer.add(rows.get(row).id, (long) row, rows.get(row).weight0, rows.get(row).weight1);
            }
        });
    }

    private static void add(Path file, double[] weights, List<Object> values) throws IOException {
        Long row = (Long) values.get(0);
        if (row == null || row < 0 || row >= weights.length) {
            throw new IOException(file + ": expected rows 0 to " + (weights.length - 1) + ", found " + row
                    + ": weigh this data again");
        }
        if (!Double.isNaN(weights[row.intValue()])) {
            throw new IOException(file + ": expected one row for each pair, found a second row " + row);
        }
        double sum = 0;
        for (int image = 0; image < 2; image++) {
            Double weight = (Double) values.get(1 + image);
            if (weight == null || !(weight >= 0 && weight < Double.POSITIVE_INFINITY)) {
                throw new IOException(file + ": row " + row + ": weight_" + image
                        + ": expected a finite number of 0 or more, found " + weight);
            }
            sum += weight;
        }
        weights[row.intValue()] = sum / 2;
    }

    /// The weight of a pair, 0 or more.
    public double weight(int pair) {
        return weights[pair];
    }
}
