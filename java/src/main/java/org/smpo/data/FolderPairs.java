package org.smpo.data;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import org.smpo.io.Json;
import org.smpo.io.JsonException;

/// A folder with one JSON object per line and the image files that they name.
///
/// Lines are found again by their offset, so that captions are not kept in memory. Empty lines are passed over.
final class FolderPairs implements PairSource {
    /// An image of more bytes than this is refused before it is read.
    static final long MAX_IMAGE_BYTES = 1L << 28;

    private static final int MAX_LINE_BYTES = 1 << 20;

    /// What Python's `json` writes for numbers that JSON does not have.
    private static final Pattern NOT_FINITE =
            Pattern.compile("\"(score_[01])\"\\s*:\\s*(NaN|-?Infinity|[-+]?\\d+(\\.\\d+)?[eE]\\+?\\d{3,})");

    private final Path file;
    private final Path root;
    private final Path realRoot;
    private final FileChannel channel;
    private final long[] starts;
    private final int[] lengths;
    private final int[] lines;
    private final PairLabels labels;

    private FolderPairs(Path file, FileChannel channel, Lines found, PairLabels labels) throws IOException {
        this.file = file;
        this.root = file.toAbsolutePath().normalize().getParent();
        this.realRoot = root.toRealPath();
        this.channel = channel;
        this.starts = Arrays.copyOf(found.starts, found.size);
        this.lengths = Arrays.copyOf(found.lengths, found.size);
        this.lines = Arrays.copyOf(found.numbers, found.size);
        this.labels = labels;
    }

    static FolderPairs open(Path file) throws IOException {
        Lines found = Lines.in(file);
        FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
        try {
            PairLabels.Builder labels = new PairLabels.Builder();
            for (int i = 0; i < found.size; i++) {
                try {
                    labels.add(fields(file, channel, found.numbers[i], found.starts[i], found.lengths[i]));
                } catch (BadPairException e) {
                    labels.addUnknown();
                }
            }
            return new FolderPairs(file, channel, found, labels.build());
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    /// Where the lines that are not empty begin, and which they are.
    private static final class Lines {
        private long[] starts = new long[1024];
        private int[] lengths = new int[1024];
        private int[] numbers = new int[1024];
        private int size;

        static Lines in(Path file) throws IOException {
            Lines lines = new Lines();
            try (InputStream in = new BufferedInputStream(Files.newInputStream(file), 1 << 16)) {
                long at = 0;
                long start = 0;
                int number = 1;
                boolean blank = true;
                int next = in.read();
                while (next >= 0) {
                    if (next == '\n') {
                        lines.add(start, at, number++, blank);
                        start = at + 1;
                        blank = true;
                    } else if (next != ' ' && next != '\t' && next != '\r') {
                        blank = false;
                    }
                    at++;
                    next = in.read();
                }
                lines.add(start, at, number, blank);
            }
            return lines;
        }

        private void add(long start, long end, int number, boolean blank) {
            if (blank) {
                return;
            }
            if (size == starts.length) {
                int larger = size + size / 2;
                starts = Arrays.copyOf(starts, larger);
                lengths = Arrays.copyOf(lengths, larger);
                numbers = Arrays.copyOf(numbers, larger);
            }
            starts[size] = start;
            lengths[size] = (int) Math.min(end - start, Integer.MAX_VALUE);
            numbers[size] = number;
            size++;
        }
    }

    private static PairFields fields(Path file, FileChannel channel, int line, long start, int length)
            throws IOException, BadPairException {
        String where = file.getFileName() + ": line " + line;
        if (length > MAX_LINE_BYTES) {
            throw new BadPairException(
                    Problem.MALFORMED_RECORD,
                    where + ": expected at most " + MAX_LINE_BYTES + " bytes, found " + length);
        }
        String text;
        try {
            text = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(Fingerprint.bytes(channel, start, length)))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new BadPairException(Problem.BAD_TEXT, where + ": expected UTF-8, found bytes that are not");
        }
        try {
            return new PairFields(where, Json.parseObject(where, text).asMap());
        } catch (JsonException e) {
            var infinite = NOT_FINITE.matcher(text);
            if (infinite.find()) {
                throw new BadPairException(
                        Problem.SCORE_NOT_FINITE,
                        where + ": " + infinite.group(1) + ": expected a finite number, found " + infinite.group(2));
            }
            throw new BadPairException(Problem.MALFORMED_RECORD, e.getMessage());
        }
    }

    @Override
    public int size() {
        return starts.length;
    }

    @Override
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        List<PairRecord> records = new ArrayList<>(indices.size());
        for (int index : indices) {
            String id = "line " + lines[index];
            try {
                PairFields fields = fields(file, channel, lines[index], starts[index], lengths[index]);
                id = fields.id(id);
                String caption = fields.caption();
                var people = fields.people();
                Optional<PairScores> scores = fields.scores();
                EncodedImage image0 = image(lines[index], "image_0", fields);
                EncodedImage image1 = image(lines[index], "image_1", fields);
                records.add(new PreferencePair(index, id, caption, image0, image1, people, scores));
            } catch (BadPairException e) {
                records.add(e.of(index, id));
            }
        }
        return records;
    }

    private EncodedImage image(int line, String field, PairFields fields) throws BadPairException {
        String name = fields.text(field);
        String where = file.getFileName() + ": line " + line + ": " + field + ": " + name;
        try {
            Path path = resolve(where, name);
            long bytes = Files.size(path);
            if (!Files.isRegularFile(path)) {
                throw new BadPairException(Problem.UNREADABLE_FILE, where + ": expected a file, found something else");
            }
            if (bytes > MAX_IMAGE_BYTES) {
                throw new BadPairException(
                        Problem.IMAGE_TOO_LARGE,
                        where + ": expected at most " + MAX_IMAGE_BYTES + " bytes, found " + bytes);
            }
            return EncodedImage.of(where, Files.readAllBytes(path));
        } catch (NoSuchFileException e) {
            throw new BadPairException(Problem.MISSING_FILE, where + ": expected a file, found nothing");
        } catch (IOException e) {
            throw new BadPairException(Problem.UNREADABLE_FILE, where + ": " + e);
        }
    }

    /// The file that a record names. Neither `..` nor a link may lead out of the folder: data sets come from
    /// strangers.
    private Path resolve(String where, String name) throws IOException, BadPairException {
        Path path;
        try {
            path = root.resolve(name).normalize();
        } catch (InvalidPathException e) {
            throw new BadPairException(Problem.MISSING_FILE, where + ": expected a path, found none that can be");
        }
        if (Path.of(name).isAbsolute() || !path.startsWith(root)) {
            throw new BadPairException(
                    Problem.PATH_OUTSIDE, where + ": expected a path below the folder, found one that leads out of it");
        }
        Path real = path.toRealPath();
        if (!real.startsWith(realRoot)) {
            throw new BadPairException(
                    Problem.PATH_OUTSIDE,
                    where + ": expected a file below the folder, found a link that leads out of it");
        }
        return real;
    }

    @Override
    public String fingerprint() throws IOException {
        Fingerprint fingerprint = new Fingerprint(root).addWhole(file);
        for (int i = 0; i < size(); i++) {
            try {
                PairFields fields = fields(file, channel, lines[i], starts[i], lengths[i]);
                for (String field : new String[] {"image_0", "image_1"}) {
                    String name = fields.text(field);
                    Path path = resolve(name, name);
                    fingerprint.add(name, Files.size(path));
                }
            } catch (BadPairException | IOException e) {
                // A record that names no file is fixed by the line itself.
                fingerprint.add(lines[i] + " bad", 0);
            }
        }
        return fingerprint.hex();
    }

    @Override
    public String describe() {
        return size() + " pairs of a folder: " + file;
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
