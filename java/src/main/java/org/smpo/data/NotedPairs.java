package org.smpo.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/// A source with a note on how it was chosen.
record NotedPairs(PairSource source, String note) implements PairSource {
    @Override
    public int size() {
        return source.size();
    }

    @Override
    public PairLabels labels() {
        return source.labels();
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        return source.read(indices);
    }

    @Override
    public String fingerprint() throws IOException {
        return source.fingerprint();
    }

    @Override
    public String describe() {
        return source.describe();
    }

    @Override
    public List<String> notes() {
        List<String> notes = new ArrayList<>(source.notes());
        notes.add(note);
        return notes;
    }

    @Override
    public void close() throws IOException {
        source.close();
    }
}
