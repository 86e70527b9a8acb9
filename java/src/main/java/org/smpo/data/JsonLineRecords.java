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
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import org.smpo.io.Json;
import org.smpo.io.JsonException;
import org.smpo.io.TextStart;

/// A file with one JSON object per line, which names image files below the file's folder.
///
/// Lines are located by offset, so that captions are not kept in memory. Empty lines are skipped.
final class JsonLineRecords implements Records {
    private static final int MAX_LINE_BYTES = 1 << 20;

    /// Numbers that Python's `json` writes and JSON does not have.
    private static final Pattern NOT_FINITE = Pattern.compile(
            "\"(score_[01]|probability_0)\"\\s*:\\s*(NaN|-?Infinity|[-+]?\\d+(\\.\\d+)?[eE]\\+?\\d{3,})");

    private final Path file;
    private final Path root;
    private final FileChannel channel;
    private final Lines lines;
    private final boolean single;

    private JsonLineRecords(Path file, FileChannel channel, Lines lines, boolean single) {
        this.single = single;
        this.file = file;
        this.root = file.toAbsolutePath().normalize().getParent();
        this.channel = channel;
        this.lines = lines;
    }

    static JsonLineRecords open(Path file) throws IOException {
        return open(file, false);
    }

    /// @param single whether a line has one image, not two
    static JsonLineRecords open(Path file, boolean single) throws IOException {
        Lines lines = Lines.in(file);
        return new JsonLineRecords(file, FileChannel.open(file, StandardOpenOption.READ), lines, single);
    }

    /// Offsets, lengths and numbers of the lines that are not empty.
    private static final class Lines {
        private long[] starts = new long[1024];
        private int[] lengths = new int[1024];
        private int[] numbers = new int[1024];
        private int size;

        static Lines in(Path file) throws IOException {
            Lines lines = new Lines();
            try (InputStream in = new BufferedInputStream(Files.newInputStream(file), 1 << 16)) {
                in.mark(TextStart.LENGTH);
                long start = TextStart.of(file, in.readNBytes(TextStart.LENGTH)).length();
                in.reset();
                in.skipNBytes(start);
                long at = start;
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

    private PairFields fields(int index) throws IOException, BadPairException {
        String where = where(index);
        int length = lines.lengths[index];
        if (length > MAX_LINE_BYTES) {
            throw new BadPairException(
                    Problem.MALFORMED_RECORD,
                    where + ": expected at most " + MAX_LINE_BYTES + " bytes, found " + length);
        }
        String text;
        try {
            text = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(Fingerprint.bytes(channel, lines.starts[index], length)))
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
                        infinite.group(1).startsWith("score") ? Problem.SCORE_NOT_FINITE : Problem.BAD_LABEL,
                        where + ": " + infinite.group(1) + ": expected a finite number, found " + infinite.group(2));
            }
            throw new BadPairException(Problem.MALFORMED_RECORD, e.getMessage());
        }
    }

    private String where(int index) {
        return file.getFileName() + ": line " + lines.numbers[index];
    }

    @Override
    public int size() {
        return lines.size;
    }

    @Override
    public String name(int index) {
        return "line " + lines.numbers[index];
    }

    @Override
    public void readLabels(LabelSink sink) throws IOException {
        for (int i = 0; i < lines.size; i++) {
            int index = i;
            sink.add(() -> fields(index));
        }
    }

    @Override
    public List<Raw> read(List<Integer> indices) {
        return indices.stream().<Raw>map(Line::new).toList();
    }

    /// A line, parsed once.
    private final class Line implements Raw {
        private final int index;
        private PairFields fields;

        Line(int index) {
            this.index = index;
        }

        @Override
        public PairFields fields() throws IOException, BadPairException {
            if (fields == null) {
                fields = JsonLineRecords.this.fields(index);
            }
            return fields;
        }

        @Override
        public EncodedImage image(int which) throws IOException, BadPairException {
            return image(imageField(fields(), which));
        }

        private EncodedImage image(String field) throws IOException, BadPairException {
            String name = fields().text(field);
            return imageFile(where(index) + ": " + field + ": " + name, name);
        }
    }

    private String imageField(PairFields fields, int which) throws BadPairException {
        return single ? fields.singleImageField() : fields.imageField(which);
    }

    private EncodedImage imageFile(String where, String name) throws BadPairException {
        try {
            Path path = resolve(where, name);
            if (!Files.isRegularFile(path)) {
                if (Files.notExists(path)) {
                    throw new NoSuchFileException(name);
                }
                throw new BadPairException(Problem.UNREADABLE_FILE, where + ": expected a file, found something else");
            }
            RecordPairs.requireSize(where, Files.size(path));
            return EncodedImage.of(where, Files.readAllBytes(path));
        } catch (NoSuchFileException e) {
            throw new BadPairException(Problem.MISSING_FILE, where + ": expected a file, found nothing");
        } catch (IOException e) {
            throw new BadPairException(Problem.UNREADABLE_FILE, where + ": " + e);
        }
    }

    /// The file that a record names. The name itself may not lead out of the folder, since data sets come
    /// from strangers.
    /// Links are followed: the Hub's cache and users' disks are made of them.
    private Path resolve(String where, String name) throws BadPairException {
        Path path;
        try {
            path = root.resolve(name).normalize();
        } catch (InvalidPathException e) {
            throw new BadPairException(
                    Problem.MISSING_FILE, where + ": expected a path, found characters that a path cannot have");
        }
        if (Path.of(name).isAbsolute() || !path.startsWith(root)) {
            throw new BadPairException(
                    Problem.PATH_OUTSIDE, where + ": expected a path below the folder, found one that leads out of it");
        }
        return path;
    }

    @Override
    public String fingerprint(PairLabels labels) throws IOException {
        Fingerprint fingerprint = new Fingerprint(root).addWhole(file);
        for (int i = 0; i < size(); i++) {
            try {
                PairFields fields = fields(i);
                for (int which = 0; which < (single ? 1 : 2); which++) {
                    String name = fields.text(imageField(fields, which));
                    fingerprint.add(name, Files.size(resolve(name, name)));
                }
            } catch (BadPairException | IOException e) {
                // A record that names no file is determined by the line itself.
                fingerprint.add(lines.numbers[i] + " bad", 0);
            }
        }
        return fingerprint.hex();
    }

    @Override
    public String describe() {
        return "a folder: " + file;
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
