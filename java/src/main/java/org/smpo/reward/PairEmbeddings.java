package org.smpo.reward;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.SortedMap;
import java.util.TreeMap;
import org.smpo.io.Digest;
import org.smpo.objective.HeadFeatures;

/// Embeddings of the captions and images of a dataset, by row. A record that cannot be read has none.
final class PairEmbeddings {
    /// Number of parts that a dataset is divided into, all pairs of one caption in the same part.
    static final int FOLDS = 5;

    private final String[] ids;
    private final int[] folds;
    private final double[][] captions;
    private final double[][][] images;
    private final SortedMap<Integer, String> problems = new TreeMap<>();

    PairEmbeddings(int size) {
        ids = new String[size];
        folds = new int[size];
        captions = new double[size][];
        images = new double[size][2][];
    }

    /// Records one pair.
    ///
    /// @param at row of its image 0 in the embeddings
    void add(DecodedPair pair, ClipEmbeddings embeddings, int at) {
        int row = pair.row();
        ids[row] = pair.id();
        folds[row] = fold(pair.caption().isBlank() ? pair.id() : pair.caption());
        captions[row] = embeddings.captions()[at];
        images[row][0] = embeddings.images()[at];
        images[row][1] = embeddings.images()[at + 1];
    }

    void addBad(DecodedPair pair) {
        ids[pair.row()] = pair.id();
        problems.put(pair.row(), pair.problem());
    }

    private static int fold(String group) {
        byte[] digest = HexFormat.of().parseHex(Digest.sha256(group.getBytes(StandardCharsets.UTF_8)));
        return Math.floorMod(ByteBuffer.wrap(digest).getInt(), FOLDS);
    }

    int size() {
        return ids.length;
    }

    String id(int row) {
        return ids[row];
    }

    /// The part of a pair, 0 to [#FOLDS] − 1, a function of its caption alone, or of its id where it
    /// has no caption.
    int fold(int row) {
        return folds[row];
    }

    boolean isBad(int row) {
        return problems.containsKey(row);
    }

    SortedMap<Integer, String> problems() {
        return problems;
    }

    double[] features(HeadFeatures how, int row, int image) {
        return how.of(captions[row], images[row][image]);
    }

    /// Returns the cosine of an image and its caption.
    double cosine(int row, int image) {
        return new ClipEmbeddings(new double[][] {captions[row]}, new double[][] {images[row][image]}).cosine(0);
    }
}
