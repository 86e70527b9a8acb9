package org.smpo.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.smpo.io.Rendering;
import org.smpo.objective.HumanChoice;

/// Preference pairs made from the [Records] of any format: collects the labels, reads fields and images, and
/// turns what is wrong with a record into a [BadPair].
final class RecordPairs implements PairSource {
    /// An image of more bytes than this is refused before it is read.
    static final long MAX_IMAGE_BYTES = 1L << 26;

    private final Records records;
    private final PairLabels labels;
    private final Rendering rendering;

    private RecordPairs(Records records, PairLabels labels, Rendering rendering) {
        this.records = records;
        this.labels = labels;
        this.rendering = rendering;
    }

    /// Reads the labels of all records. The result owns the records; they are closed when this fails.
    static RecordPairs of(Records records, Rendering rendering) throws IOException {
        try {
            PairLabels.Builder labels = new PairLabels.Builder();
            records.readLabels(fields -> {
                try {
                    labels.add(fields.read());
                } catch (BadPairException e) {
                    labels.addUnknown();
                }
            });
            return new RecordPairs(records, labels.build(), rendering);
        } catch (IOException | RuntimeException e) {
            try {
                records.close();
            } catch (IOException suppressed) {
                e.addSuppressed(suppressed);
            }
            throw e;
        }
    }

    @Override
    public int size() {
        return records.size();
    }

    @Override
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        for (int index : indices) {
            Objects.checkIndex(index, size());
        }
        List<Records.Raw> found = records.read(indices);
        List<PairRecord> pairs = new ArrayList<>(found.size());
        for (int i = 0; i < found.size(); i++) {
            pairs.add(pair(indices.get(i), found.get(i)));
        }
        return pairs;
    }

    private PairRecord pair(int index, Records.Raw record) throws IOException {
        String id = records.name(index);
        try {
            PairFields fields = record.fields();
            id = fields.id(id);
            String caption = fields.caption();
            HumanChoice people = fields.people();
            Optional<PairScores> scores = fields.scores();
            EncodedImage image0 = record.image(0).rendered(rendering);
            EncodedImage image1 = record.image(1).rendered(rendering);
            return new PreferencePair(index, id, caption, image0, image1, people, scores);
        } catch (BadPairException e) {
            return e.of(index, id);
        }
    }

    /// Refuses an image before it is read.
    static void requireSize(String where, long bytes) throws BadPairException {
        if (bytes > MAX_IMAGE_BYTES) {
            throw new BadPairException(
                    Problem.IMAGE_TOO_LARGE,
                    where + ": expected at most " + MAX_IMAGE_BYTES + " bytes, found " + bytes);
        }
    }

    @Override
    public String fingerprint() throws IOException {
        return records.fingerprint(labels);
    }

    @Override
    public String describe() {
        return size() + " pairs of " + records.describe();
    }

    @Override
    public List<String> notes() {
        return records.notes();
    }

    @Override
    public void close() throws IOException {
        records.close();
    }
}
