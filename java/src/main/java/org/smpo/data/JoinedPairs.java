package org.smpo.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.smpo.io.Closer;
import org.smpo.io.Digest;

/// Several sources as one: the records of the first, then those of the next. Closing it closes all of them.
public final class JoinedPairs implements PairSource {
    private final List<PairSource> parts;
    private final FileRows rows;
    private final PairLabels labels;

    /// @param parts one or more sources, in order
    private JoinedPairs(List<PairSource> parts) {
        this.parts = List.copyOf(parts);
        this.rows = new FileRows(parts.stream().map(PairSource::size).toList());
        PairLabels.Builder all = new PairLabels.Builder();
        for (PairSource part : parts) {
            PairLabels own = part.labels();
            for (int i = 0; i < own.size(); i++) {
                all.add(own.people(i), own.probability0(i), own.scores(i));
            }
        }
        this.labels = all.build();
    }

    /// Joins sources; one source alone is that source.
    ///
    /// @param parts one or more sources, in order
    public static PairSource of(List<PairSource> parts) {
        return parts.size() == 1 ? parts.getFirst() : new JoinedPairs(parts);
    }

    @Override
    public int size() {
        return rows.size();
    }

    @Override
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        Map<Integer, List<Integer>> byPart = new TreeMap<>();
        for (int index : indices) {
            Objects.checkIndex(index, size());
            byPart.computeIfAbsent(rows.part(index), none -> new ArrayList<>()).add(rows.row(index));
        }
        Map<Integer, Iterator<PairRecord>> read = new HashMap<>();
        for (Map.Entry<Integer, List<Integer>> entry : byPart.entrySet()) {
            read.put(
                    entry.getKey(),
                    parts.get(entry.getKey()).read(entry.getValue()).iterator());
        }
        List<PairRecord> records = new ArrayList<>(indices.size());
        for (int index : indices) {
            int part = rows.part(index);
            records.add(moved(read.get(part).next(), rows.start(part)));
        }
        return records;
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
    public List<String> notes() {
        return parts.stream().flatMap(part -> part.notes().stream()).toList();
    }

    @Override
    public void close() throws IOException {
        try (Closer closer = new Closer()) {
            parts.forEach(closer::add);
        }
    }
}
