package org.smpo.train;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.smpo.data.BadPair;
import org.smpo.data.ImageRecord;
import org.smpo.data.ImageSource;
import org.smpo.data.PairRecord;
import org.smpo.data.PairSource;
import org.smpo.data.PreferencePair;
import org.smpo.data.SingleImage;

/// The images of labelled pairs as single images: the winners, the losers, or both. Winners are desirable.
///
/// @param pairs the pairs
/// @param labels their labels
/// @param winners whether winners are among the images
/// @param losers whether losers are
/// @param eligible indices of the pairs that have a winner
@SuppressWarnings("ArrayRecordComponent") // never compared
record PairImages(PairSource pairs, StoredLabels labels, boolean winners, boolean losers, int[] eligible)
        implements ImageSource {
    /// The images of the pairs that can be trained on.
    static PairImages of(PairSource pairs, StoredLabels labels, boolean winners, boolean losers) {
        return new PairImages(pairs, labels, winners, losers, labels.eligible());
    }

    @Override
    public int size() {
        return winners && losers ? 2 * eligible.length : eligible.length;
    }

    /// The pair that an image belongs to.
    int pair(int index) {
        Objects.checkIndex(index, size());
        return eligible[winners && losers ? index / 2 : index];
    }

    @Override
    public Optional<Boolean> desirable(int index) {
        return Optional.of((winners && losers) ? index % 2 == 0 : winners);
    }

    @Override
    public List<ImageRecord> read(List<Integer> indices) throws IOException {
        List<PairRecord> records = pairs.read(indices.stream().map(this::pair).toList());
        List<ImageRecord> images = new ArrayList<>(indices.size());
        for (int i = 0; i < records.size(); i++) {
            images.add(image(indices.get(i), records.get(i)));
        }
        return images;
    }

    private ImageRecord image(int index, PairRecord record) {
        return switch (record) {
            case BadPair bad -> bad;
            case PreferencePair pair -> {
                int winner = labels.winner(pair.index());
                int which = desirable(index).orElseThrow() ? winner : 1 - winner;
                yield new SingleImage(index, pair.id(), pair.caption(), pair.image(which), pair.index(), which);
            }
        };
    }

    @Override
    public String fingerprint() throws IOException {
        return pairs.fingerprint();
    }

    @Override
    public String describe() {
        return pairs.describe();
    }
}
