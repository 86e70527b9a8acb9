package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.smpo.io.ParquetReader;

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
    ///     a weight that is not a finite number of 0 or more, naming the row
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
            return new PairWeights(weights);
        }
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
