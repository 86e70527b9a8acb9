package org.smpo.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.smpo.io.Digest;

/// Several sources of single images as one: the images of the first, then those of the next.
public final class JoinedImages implements ImageSource {
    private final List<ImageSource> parts;
    private final FileRows rows;

    /// @param parts one or more sources, in order
    public JoinedImages(List<? extends ImageSource> parts) {
        this.parts = List.copyOf(parts);
        this.rows = new FileRows(parts.stream().map(ImageSource::size).toList());
    }

    @Override
    public int size() {
        return rows.size();
    }

    @Override
    public Optional<Boolean> desirable(int index) {
        return parts.get(rows.part(index)).desirable(rows.row(index));
    }

    @Override
    public List<ImageRecord> read(List<Integer> indices) throws IOException {
        ImageRecord[] records = new ImageRecord[indices.size()];
        for (int part = 0; part < parts.size(); part++) {
            List<Integer> places = new ArrayList<>();
            List<Integer> own = new ArrayList<>();
            for (int i = 0; i < records.length; i++) {
                if (rows.part(indices.get(i)) == part) {
                    places.add(i);
                    own.add(rows.row(indices.get(i)));
                }
            }
            List<ImageRecord> read = own.isEmpty() ? List.of() : parts.get(part).read(own);
            for (int i = 0; i < read.size(); i++) {
                records[places.get(i)] = moved(read.get(i), rows.start(part));
            }
        }
        return List.of(records);
    }

    private static ImageRecord moved(ImageRecord record, int by) {
        return switch (record) {
            case BadPair bad -> new BadPair(bad.index() + by, bad.id(), bad.problem(), bad.message());
            case SingleImage image ->
                new SingleImage(
                        image.index() + by,
                        image.id(),
                        image.caption(),
                        image.image(),
                        image.pair() + by,
                        image.which());
        };
    }

    @Override
    public String fingerprint() throws IOException {
        Digest digest = new Digest();
        for (ImageSource part : parts) {
            digest.update(ByteBuffer.wrap((part.fingerprint() + "\n").getBytes(StandardCharsets.US_ASCII)));
        }
        return digest.hex();
    }

    @Override
    public String describe() {
        return parts.stream().map(ImageSource::describe).collect(Collectors.joining(" + "));
    }
}
