package org.smpo.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.smpo.io.TextStart;

/// Two folders, `chosen` and `rejected`, with images of the same names except for their endings. The prompt
/// of `NAME.png`
/// stands in `NAME.txt` beside either image, in the folder above, or in a folder `captions`.
final class ChosenRejectedRecords implements Records {
    private static final List<String> SIDES = List.of("chosen", "rejected");
    private static final List<String> CAPTION_FOLDERS = List.of("chosen", "rejected", "captions", "");
    private static final int MAX_TEXT_BYTES = 1 << 20;

    private final Path root;
    private final List<Pair> pairs;

    private ChosenRejectedRecords(Path root, List<Pair> pairs) {
        this.root = root;
        this.pairs = pairs;
    }

    /// The files of one pair; null where one is missing.
    private record Pair(String name, Path chosen, Path rejected, Path caption) {
        Path image(int which) {
            return which == 0 ? chosen : rejected;
        }
    }

    /// Whether a folder has both folders.
    static boolean isIn(Path folder) {
        return SIDES.stream().allMatch(side -> Files.isDirectory(folder.resolve(side)));
    }

    static ChosenRejectedRecords open(Path folder) throws IOException {
        List<Map<String, Path>> sides = new ArrayList<>();
        Map<String, Path> names = new TreeMap<>();
        for (String side : SIDES) {
            Map<String, Path> images = new TreeMap<>();
            for (Path file : SourceFolder.list(folder.resolve(side))) {
                String name = file.getFileName().toString();
                if (name.toLowerCase(Locale.ROOT).matches(".+\\.(png|jpg|jpeg|webp)")) {
                    Path other = images.put(name.substring(0, name.lastIndexOf('.')), file);
                    if (other != null) {
                        throw new IOException(folder.resolve(side) + ": expected one image of a name, found "
                                + other.getFileName() + " and " + name);
                    }
                }
            }
            sides.add(images);
            names.putAll(images);
        }
        List<Pair> pairs = new ArrayList<>();
        for (String name : names.keySet()) {
            pairs.add(new Pair(name, sides.get(0).get(name), sides.get(1).get(name), caption(folder, name)));
        }
        return new ChosenRejectedRecords(folder, pairs);
    }

    private static Path caption(Path folder, String name) {
        return CAPTION_FOLDERS.stream()
                .map(place -> folder.resolve(place).resolve(name + ".txt"))
                .filter(Files::isRegularFile)
                .findFirst()
                .orElse(null);
    }

    @Override
    public int size() {
        return pairs.size();
    }

    @Override
    public String name(int index) {
        return pairs.get(index).name;
    }

    /// The folder tells who won, so no file is read.
    @Override
    public void readLabels(LabelSink sink) throws IOException {
        for (Pair pair : pairs) {
            sink.add(() -> new PairFields(pair.name, Map.of(), true));
        }
    }

    @Override
    public List<Raw> read(List<Integer> indices) {
        return indices.stream()
                .<Raw>map(index -> new PairFiles(pairs.get(index)))
                .toList();
    }

    private record PairFiles(Pair pair) implements Raw {
        @Override
        public PairFields fields() throws IOException, BadPairException {
            Map<String, Object> values = pair.caption == null ? Map.of() : Map.of("caption", text(pair.caption));
            return new PairFields(pair.name + ".txt", values, true);
        }

        @Override
        public EncodedImage image(int which) throws IOException, BadPairException {
            Path file = pair.image(which);
            String where = SIDES.get(which) + "/" + pair.name;
            if (file == null) {
                throw new BadPairException(Problem.MISSING_FILE, where + ": expected an image, found nothing");
            }
            RecordPairs.requireSize(where, Files.size(file));
            return EncodedImage.of(SIDES.get(which) + "/" + file.getFileName(), Files.readAllBytes(file));
        }
    }

    private static String text(Path file) throws IOException, BadPairException {
        long size = Files.size(file);
        if (size > MAX_TEXT_BYTES) {
            throw new BadPairException(
                    Problem.MALFORMED_RECORD,
                    file.getFileName() + ": expected at most " + MAX_TEXT_BYTES + " bytes, found " + size);
        }
        byte[] bytes = Files.readAllBytes(file);
        try {
            // A text file ends with a newline that belongs to the file.
            return TextStart.decode(file.getFileName(), bytes).replaceFirst("\\r?\\n\\z", "");
        } catch (IOException e) {
            throw new BadPairException(Problem.BAD_TEXT, e.getMessage());
        }
    }

    @Override
    public String fingerprint(PairLabels labels) throws IOException {
        Fingerprint fingerprint = new Fingerprint(root);
        for (Pair pair : pairs) {
            fingerprint.add(pair.name, 0);
            for (int which = 0; which < 2; which++) {
                if (pair.image(which) != null) {
                    fingerprint.addEdges(pair.image(which));
                }
            }
            if (pair.caption != null) {
                fingerprint.addWhole(pair.caption);
            }
        }
        return fingerprint.hex();
    }

    @Override
    public String describe() {
        return "the folders chosen and rejected: " + root;
    }

    @Override
    public void close() {}
}
