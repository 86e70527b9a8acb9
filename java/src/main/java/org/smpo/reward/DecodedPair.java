package org.smpo.reward;

import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import org.smpo.data.BadPair;
import org.smpo.data.PairRecord;
import org.smpo.data.PairSource;
import org.smpo.data.PreferencePair;
import org.smpo.io.ImageException;
import org.smpo.io.RgbImage;

/// One record of a dataset with its decoded images, or with its problem.
///
/// @param problem problem of the record; null when there is none
record DecodedPair(int row, String id, String caption, RgbImage image0, RgbImage image1, String problem) {
    /// Reads the records `from .. end - 1` and decodes their images.
    static List<DecodedPair> read(PairSource data, int from, int end) throws IOException {
        List<Integer> rows = IntStream.range(from, end).boxed().toList();
        return data.read(rows).parallelStream().map(DecodedPair::decode).toList();
    }

    private static DecodedPair decode(PairRecord found) {
        return switch (found) {
            case BadPair bad -> new DecodedPair(bad.index(), bad.id(), null, null, null, bad.message());
            case PreferencePair pair -> {
                try {
                    yield new DecodedPair(
                            pair.index(),
                            pair.id(),
                            pair.caption(),
                            pair.image0().decode(),
                            pair.image1().decode(),
                            null);
                } catch (ImageException e) {
                    yield new DecodedPair(pair.index(), pair.id(), null, null, null, e.getMessage());
                }
            }
        };
    }
}
