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
import org.smpo.io.Json;
import org.smpo.io.JsonException;

/// Tar shards in the manner of webdataset: the members of a pair share a key, the name up to the first dot.
///
/// The headers of all shards are read once; members are then read by their offsets, in any order.
final class TarPairs implements PairSource {
    private static final long BLOCK = 512;
    private static final int MAX_TEXT_BYTES = 1 << 20;

    private static final Pattern IMAGE = Pattern.compile(
            "(?:image_)?([01])\\.(?:jpg|jpeg|png|webp)|(?:jpg|jpeg|png|webp|image)_([01])(?:\\.(?:jpg|jpeg|png|webp))?");

    /// Fields that are members of their own, by extension.
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
    private final List<FileChannel> channels;
    private final List<Sample> samples;
    private final PairLabels labels;

    private TarPairs(Path root, List<Path> files, List<FileChannel> channels, List<Sample> samples, PairLabels labels) {
        this.root = root;
        this.files = files;
        this.channels = channels;
        this.samples = samples;
        this.labels = labels;
    }

    /// Where one member's bytes are.
    private record Member(long offset, long size) {}

    /// The members of one key.
    ///
    /// @param members by field: `image_0`, `image_1`, `json`, `caption`, ...
    private record Sample(int shard, String key, Map<String, Member> members) {}

    static TarPairs open(Path root, List<Path> files) throws IOException {
        List<Sample> samples = new ArrayList<>();
        List<FileChannel> channels = new ArrayList<>();
        try {
            PairLabels.Builder labels = new PairLabels.Builder();
            for (Path file : files) {
                index(file, channels.size(), samples);
                channels.add(FileChannel.open(file, StandardOpenOption.READ));
            }
            TarPairs pairs = new TarPairs(root, files, channels, samples, null);
            for (Sample sample : samples) {
                try {
                    labels.add(pairs.fields(sample));
                } catch (BadPairException e) {
                    labels.addUnknown();
                }
            }
            return new TarPairs(root, files, channels, samples, labels.build());
        } catch (IOException | RuntimeException e) {
            for (FileChannel channel : channels) {
                channel.close();
            }
            throw e;
        }
    }

    private static void index(Path file, int shard, List<Sample> samples) throws IOException {
        Map<String, Sample> found = new LinkedHashMap<>();
        try (TarFile tar = new TarFile(file)) {
            long end = Files.size(file);
            long last = 0;
            for (TarArchiveEntry entry : tar.getEntries()) {
                last = Math.max(last, entry.getDataOffset() + Math.max(0, entry.getSize()));
                if (!entry.isFile() || entry.isSparse()) {
                    continue;
                }
                String name = entry.getName();
                int base = name.lastIndexOf('/') + 1;
                int dot = name.indexOf('.', base);
                // Without a key it is another file: .gitignore, README.
                if (dot <= base) {
                    continue;
                }
                String field = field(name.substring(dot + 1).toLowerCase(Locale.ROOT));
                if (field == null) {
                    continue;
                }
                Member member = new Member(entry.getDataOffset(), entry.getSize());
                if (member.offset < 0 || member.size < 0 || member.size > end - member.offset) {
                    throw new IOException(file + ": member " + name + ": expected " + member.size + " bytes at "
                            + member.offset + ", found the end of the file at " + end);
                }
                String key = name.substring(0, dot);
                Member other = found.computeIfAbsent(key, none -> new Sample(shard, key, new HashMap<>()))
                        .members
                        .put(field, member);
                if (other != null) {
                    throw new IOException(
                            file + ": member " + name + ": expected one " + field + " of " + key + ", found two");
                }
            }
            // A block of zeros ends an archive; without it more members may have followed.
            if (end / BLOCK <= Math.ceilDiv(last, BLOCK)) {
                throw new IOException(file + ": expected a whole tar file, found one that ends after " + end + " bytes"
                        + " without its end mark");
            }
        } catch (IllegalArgumentException e) {
            throw new IOException(file + ": expected a tar file, found one that cannot be read: " + e.getMessage(), e);
        }
        samples.addAll(found.values());
    }

    private static String field(String extension) {
        Matcher image = IMAGE.matcher(extension);
        if (image.matches()) {
            return "image_" + (image.group(1) == null ? image.group(2) : image.group(1));
        }
        return extension.equals(JSON) ? JSON : TEXTS.get(extension);
    }

    private String where(Sample sample) {
        return files.get(sample.shard).getFileName() + ": " + sample.key;
    }

    /// Those of the JSON member, and the members that are fields of their own over them.
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
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        List<PairRecord> records = new ArrayList<>(indices.size());
        for (int index : indices) {
            Sample sample = samples.get(index);
            String id = sample.key;
            try {
                PairFields fields = fields(sample);
                id = fields.id(id);
                records.add(new PreferencePair(
                        index,
                        id,
                        fields.caption(),
                        image(sample, "image_0"),
                        image(sample, "image_1"),
                        fields.people(),
                        fields.scores()));
            } catch (BadPairException e) {
                records.add(e.of(index, id));
            }
        }
        return records;
    }

    private EncodedImage image(Sample sample, String field) throws IOException, BadPairException {
        Member member = sample.members.get(field);
        String where = where(sample) + ": " + field;
        if (member == null) {
            throw new BadPairException(
                    Problem.MISSING_FILE,
                    where + ": expected a member such as " + sample.key + "." + field.charAt(6) + ".jpg, found none");
        }
        if (member.size > FolderPairs.MAX_IMAGE_BYTES) {
            throw new BadPairException(
                    Problem.IMAGE_TOO_LARGE,
                    where + ": expected at most " + FolderPairs.MAX_IMAGE_BYTES + " bytes, found " + member.size);
        }
        return EncodedImage.of(where, bytes(sample, member));
    }

    @Override
    public String fingerprint() throws IOException {
        Fingerprint fingerprint = new Fingerprint(root);
        for (Path file : files) {
            fingerprint.addEdges(file);
        }
        for (int i = 0; i < samples.size(); i++) {
            Sample sample = samples.get(i);
            new TreeMap<>(sample.members)
                    .forEach((field, member) -> fingerprint.add(sample.key + "." + field, member.size));
            fingerprint.add(labels.people(i) + " " + labels.scores(i), 0);
        }
        return fingerprint.hex();
    }

    @Override
    public String describe() {
        return size() + " pairs of " + files.size() + " tar shard" + (files.size() == 1 ? "" : "s") + ": "
                + files.get(0) + (files.size() == 1 ? "" : ", ...");
    }

    @Override
    public void close() throws IOException {
        for (FileChannel channel : channels) {
            channel.close();
        }
    }
}
