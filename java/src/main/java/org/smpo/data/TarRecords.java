package org.smpo.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarFile;
import org.smpo.io.Closer;
import org.smpo.io.Json;
import org.smpo.io.JsonException;

/// Tar shards in the layout of webdataset: the members of a pair share a key, the part of the name before a
/// known ending. Keys may contain dots.
///
/// The headers of all shards are read once; members are then read by offset, in any order.
final class TarRecords implements Records {
    private static final long BLOCK = 512;
    private static final int MAX_TEXT_BYTES = 1 << 20;

    private static final Pattern IMAGE = Pattern.compile(
            "(?:image_)?([01])\\.(?:jpg|jpeg|png|webp)|(?:jpg|jpeg|png|webp|image)_([01])(?:\\.(?:jpg|jpeg|png|webp))?");

    /// Fields that are separate members, by ending.
    private static final Map<String, String> TEXTS = Map.of(
            "caption.txt", "caption",
            "caption", "caption",
            "txt", "caption",
            "label", "label",
            "label.txt", "label",
            "label_0", "label_0",
            "label_0.txt", "label_0",
            "label_1", "label_1",
            "label_1.txt", "label_1");

    private static final String JSON = "json";

    private final Path root;
    private final List<Path> files;
    private final List<FileChannel> channels = new ArrayList<>();
    private final Closer closer = new Closer();
    private final List<Sample> samples = new ArrayList<>();
    private int ignored;
    private String ignoredExample = "";

    private TarRecords(Path root, List<Path> files) {
        this.root = root;
        this.files = files;
    }

    /// Position of a member's bytes in its shard.
    private record Member(long offset, long size) {}

    /// The members of one key.
    ///
    /// @param members members by field: `image_0`, `image_1`, `json`, `caption`, ...
    private record Sample(int shard, String key, Map<String, Member> members) {}

    static TarRecords open(Path root, List<Path> files) throws IOException {
        TarRecords records = new TarRecords(root, files);
        try {
            for (Path file : files) {
                records.index(file, records.channels.size());
                records.channels.add(records.closer.add(FileChannel.open(file, StandardOpenOption.READ)));
            }
            return records;
        } catch (IOException | RuntimeException e) {
            records.closer.closeAfter(e);
            throw e;
        }
    }

    private void index(Path file, int shard) throws IOException {
        Map<String, Sample> found = new LinkedHashMap<>();
        try (TarFile tar = archive(file)) {
            long end = Files.size(file);
            long last = 0;
            for (TarArchiveEntry entry : tar.getEntries()) {
                last = Math.max(last, entry.getDataOffset() + Math.max(0, entry.getSize()));
                if (entry.isFile() && !entry.isSparse()) {
                    add(file, shard, end, entry, found);
                }
            }
            // A block of zeros ends an archive; without it more members may have followed.
            if (end / BLOCK <= Math.ceilDiv(last, BLOCK)) {
                throw new IOException(file + ": expected a whole tar file, found one that ends after " + end + " bytes"
                        + " without its end mark");
            }
        }
        samples.addAll(found.values());
    }

    private static TarFile archive(Path file) throws IOException {
        try {
            return new TarFile(file);
        } catch (IOException | IllegalArgumentException e) {
            throw new IOException(file + ": expected a tar file, found one that cannot be read: " + e.getMessage(), e);
        }
    }

    private void add(Path file, int shard, long end, TarArchiveEntry entry, Map<String, Sample> found)
            throws IOException {
        String name = entry.getName();
        int base = name.lastIndexOf('/') + 1;
        // Without a key it is another file: .gitignore, README.
        if (name.indexOf('.', base) <= base) {
            return;
        }
        int dot = endingOf(name, base);
        if (dot < 0) {
            ignored++;
            ignoredExample = ignoredExample.isEmpty() ? name : ignoredExample;
            return;
        }
        String field = field(name.substring(dot + 1));
        Member member = new Member(entry.getDataOffset(), entry.getSize());
        if (member.offset < 0 || member.size < 0 || member.size > end - member.offset) {
            throw new IOException(file + ": member " + name + ": expected " + member.size + " bytes at " + member.offset
                    + ", found the end of the file at " + end);
        }
        String key = name.substring(0, dot);
        Member other = found.computeIfAbsent(key, none -> new Sample(shard, key, new HashMap<>()))
                .members
                .put(field, member);
        if (other != null) {
            throw new IOException(file + ": member " + name + ": expected one " + field + " of " + key + ", found two");
        }
    }

    /// Position of the dot before the longest known ending, or -1.
    private static int endingOf(String name, int base) {
        for (int dot = name.indexOf('.', base + 1); dot >= 0; dot = name.indexOf('.', dot + 1)) {
            if (field(name.substring(dot + 1)) != null) {
                return dot;
            }
        }
        return -1;
    }

    private static String field(String ending) {
        String lower = ending.toLowerCase(Locale.ROOT);
        Matcher image = IMAGE.matcher(lower);
        if (image.matches()) {
            return "image_" + (image.group(1) == null ? image.group(2) : image.group(1));
        }
        return lower.equals(JSON) ? JSON : TEXTS.get(lower);
    }

    private String where(Sample sample) {
        return files.get(sample.shard).getFileName() + ": " + sample.key;
    }

    /// The fields of the JSON member; separate members take precedence.
    private PairFields fields(Sample sample) throws IOException, BadPairException {
        String where = where(sample);
        Map<String, Object> values = new HashMap<>();
        if (sample.members.containsKey(JSON)) {
            try {
                values.putAll(
                        Json.parseObject(where + ".json", text(sample, JSON)).asMap());
            } catch (JsonException e) {
                throw new BadPairException(Problem.MALFORMED_RECORD, e.getMessage());
            }
        }
        for (String field : sample.members.keySet()) {
            if (field.equals("caption")) {
                // A text file ends with a newline that belongs to the file.
                values.put(field, text(sample, field).replaceFirst("\\r?\\n\\z", ""));
            } else if (field.startsWith("label_")) {
                values.put(field, number(where, field, text(sample, field).strip()));
            } else if (field.equals("label")) {
                values.put(field, text(sample, field));
            }
        }
        return new PairFields(where, values);
    }

    private static Double number(String where, String field, String text) throws BadPairException {
        try {
            return Double.valueOf(text);
        } catch (NumberFormatException e) {
            throw new BadPairException(
                    Problem.WRONG_TYPE, where + ": " + field + ": expected a number, found \"" + text + "\"");
        }
    }

    private String text(Sample sample, String field) throws IOException, BadPairException {
        Member member = sample.members.get(field);
        String where = where(sample) + ": " + field;
        if (member.size > MAX_TEXT_BYTES) {
            throw new BadPairException(
                    Problem.MALFORMED_RECORD,
                    where + ": expected at most " + MAX_TEXT_BYTES + " bytes, found " + member.size);
        }
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes(sample, member)))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new BadPairException(Problem.BAD_TEXT, where + ": expected UTF-8, found bytes that are not");
        }
    }

    private byte[] bytes(Sample sample, Member member) throws IOException {
        return Fingerprint.bytes(channels.get(sample.shard), member.offset, (int) member.size);
    }

    @Override
    public int size() {
        return samples.size();
    }

    @Override
    public String name(int index) {
        return samples.get(index).key;
    }

    @Override
    public void readLabels(LabelSink sink) throws IOException {
        for (Sample sample : samples) {
            sink.add(() -> fields(sample));
        }
    }

    @Override
    public List<Raw> read(List<Integer> indices) {
        return indices.stream()
                .<Raw>map(index -> new SampleReader(samples.get(index)))
                .toList();
    }

    private final class SampleReader implements Raw {
        private final Sample sample;

        SampleReader(Sample sample) {
            this.sample = sample;
        }

        @Override
        public PairFields fields() throws IOException, BadPairException {
            return TarRecords.this.fields(sample);
        }

        @Override
        public EncodedImage image(int which) throws IOException, BadPairException {
            Member member = sample.members.get("image_" + which);
            String where = where(sample) + ": image_" + which;
            if (member == null) {
                throw new BadPairException(
                        Problem.MISSING_FILE,
                        where + ": expected a member such as " + sample.key + "." + which + ".jpg, found none");
            }
            RecordPairs.requireSize(where, member.size);
            return EncodedImage.of(where, bytes(sample, member));
        }
    }

    @Override
    public String fingerprint(PairLabels labels) throws IOException {
        Fingerprint fingerprint = new Fingerprint(root);
        for (Path file : files) {
            fingerprint.addEdges(file);
        }
        for (int i = 0; i < samples.size(); i++) {
            Sample sample = samples.get(i);
            new TreeMap<>(sample.members)
                    .forEach((field, member) -> fingerprint.add(sample.key + "." + field, member.size));
            fingerprint.addLabel(labels, i);
        }
        return fingerprint.hex();
    }

    @Override
    public String describe() {
        return FileRows.describe(files, "tar shard");
    }

    @Override
    public List<String> notes() {
        return ignored == 0
                ? List.of()
                : List.of(ignored + " tar members have no known ending and are ignored, such as " + ignoredExample);
    }

    @Override
    public void close() throws IOException {
        closer.close();
    }
}
