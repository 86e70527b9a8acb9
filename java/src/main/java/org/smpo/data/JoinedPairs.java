package org.smpo.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.smpo.io.Digest;

/// Several sources as one: the records of the first, then those of the next. Closing it closes them.
public final class JoinedPairs implements PairSource {
    private final List<PairSource> parts;
    private final int[] starts;
    private final PairLabels labels;

    /// @param parts one or more
    public JoinedPairs(List<PairSource> parts) {
        this.parts = List.copyOf(parts);
        this.starts = new int[parts.size() + 1];
        PairLabels.Builder all = new PairLabels.Builder();
        for (int part = 0; part < parts.size(); part++) {
            starts[part + 1] = Math.addExact(starts[part], parts.get(part).size());
            PairLabels own = parts.get(part).labels();
            for (int i = 0; i < own.size(); i++) {
                all.add(own.people(i), own.scores(i));
            }
        }
        this.labels = all.build();
    }

    @Override
    public int size() {
        return starts[starts.length - 1];
    }

    @Override
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        PairRecord[] records = new PairRecord[indices.size()];
        for (int part = 0; part < parts.size(); part++) {
            List<Integer> places = new ArrayList<>();
            List<Integer> own = new ArrayList<>();
            for (int i = 0; i < records.length; i++) {
                int index = indices.get(i);
                if (index >= starts[part] && index < starts[part + 1]) {
                    places.add(i);
                    own.add(index - starts[part]);
                }
            }
            List<PairRecord> found = own.isEmpty() ? List.of() : parts.get(part).read(own);
            for (int i = 0; i < found.size(); i++) {
                records[places.get(i)] = moved(found.get(i), starts[part]);
            }
        }
        for (int i = 0; i < records.length; i++) {
            if (records[i] == null) {
                throw new IndexOutOfBoundsException("pair " + indices.get(i) + " of " + size());
            }
        }
        return Arrays.asList(records);
    }

    private static PairRecord moved(PairRecord record, int by) {
        return switch (record) {
            case BadPair bad -> new BadPair(bad.index() + by, bad.id(), bad.problem(), bad.message());
            case PreferencePair pair ->
                new PreferencePair(
                        pair.index() + by,
                        pair.id(),
                        pair.caption(),
                        pair.image0(),
                        pair.image1(),
                        pair.people(),
                        pair.scores());
        };
    }

    @Override
    public String fingerprint() throws IOException {
        Digest digest = new Digest();
        for (PairSource part : parts) {
            digest.update(ByteBuffer.wrap((part.fingerprint() + "\n").getBytes(StandardCharsets.US_ASCII)));
        }
        return digest.hex();
    }

    @Override
    public String describe() {
        return parts.stream().map(PairSource::describe).collect(Collectors.joining(" + "));
    }

    @Override
    public void close() throws IOException {
        IOException failure = null;
        for (PairSource part : parts) {
            try {
                part.close();
            } catch (IOException e) {
                failure = e;
            }
        }
        if (failure != null) {
            throw failure;
        }
    }
}
