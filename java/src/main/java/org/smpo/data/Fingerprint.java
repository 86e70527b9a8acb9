package org.smpo.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.OptionalDouble;
import org.smpo.io.Digest;

/// Builds [PairSource#fingerprint]. Names have `/`, so that it is the same on every system.
final class Fingerprint {
    private static final int EDGE = 1 << 16;

    private final Digest digest = new Digest();
    private final Path root;

    Fingerprint(Path root) {
        this.root = root.toAbsolutePath().normalize();
    }

    /// Adds a name and a size.
    Fingerprint add(String name, long size) {
        byte[] text = (name + "\0" + size + "\0").getBytes(StandardCharsets.UTF_8);
        digest.update(ByteBuffer.wrap(text));
        return this;
    }

    /// Adds a file's name, size and all of its content.
    Fingerprint addWhole(Path file) throws IOException {
        add(name(file), Files.size(file));
        digest.update(ByteBuffer.wrap(Digest.sha256(file).getBytes(StandardCharsets.US_ASCII)));
        return this;
    }

    /// Adds a file's name, its size and both ends of its content, which is where Parquet, Arrow and tar have
    /// their metadata.
    Fingerprint addEdges(Path file) throws IOException {
        long size = Files.size(file);
        add(name(file), size);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            digest.update(ByteBuffer.wrap(bytes(channel, 0, (int) Math.min(EDGE, size))));
            if (size > EDGE) {
                long from = Math.max(EDGE, size - EDGE);
                digest.update(ByteBuffer.wrap(bytes(channel, from, (int) (size - from))));
            }
        }
        return this;
    }

    /// Adds the labels and scores of all records.
    Fingerprint addLabels(PairLabels labels) {
        for (int i = 0; i < labels.size(); i++) {
            addLabel(labels, i);
        }
        return this;
    }

    /// Adds the label, the probability and the scores of one record. The text of a record without a probability
    /// stays as it is, since runs have recorded its digest.
    Fingerprint addLabel(PairLabels labels, int index) {
        String scores = labels.scores(index)
                .map(both -> "Optional[PairScores[score0=" + both.score0() + ", score1=" + both.score1() + "]]")
                .orElse("Optional.empty");
        OptionalDouble probability = labels.probability0(index);
        String text = labels.people(index).name() + " " + scores;
        return add(probability.isPresent() ? text + " " + probability.getAsDouble() : text, 0);
    }

    String hex() {
        return digest.hex();
    }

    private String name(Path file) {
        return root.relativize(file.toAbsolutePath().normalize()).toString().replace('\\', '/');
    }

    /// Reads a part of a file.
    ///
    /// @throws IOException when the file ends before
    static byte[] bytes(FileChannel channel, long from, int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer, from + buffer.position()) < 0) {
                throw new IOException("expected " + length + " bytes at " + from + ", found " + buffer.position()
                        + ": the file became shorter");
            }
        }
        return buffer.array();
    }
}
