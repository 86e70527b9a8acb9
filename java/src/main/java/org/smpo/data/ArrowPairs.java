package org.smpo.data;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.smpo.io.ArrowStream;
import org.smpo.io.ArrowStream.Column;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// A data set as Hugging Face's `save_to_disk` writes it: `state.json` names the files, each an Arrow stream.
final class ArrowPairs implements PairSource {
    private static final String STATE = "state.json";

    private final Path root;
    private final List<Part> parts;
    private final int[] firsts;
    private final PairLabels labels;

    private ArrowPairs(Path root, List<Part> parts, int[] firsts, PairLabels labels) {
        this.root = root;
        this.parts = parts;
        this.firsts = firsts;
        this.labels = labels;
    }

    /// One file and its columns by field.
    private record Part(Path file, ArrowStream stream, Column image0, Column image1, Map<String, Column> fields) {}

    /// @param found the folder's Arrow files, where `state.json` does not name them
    static ArrowPairs openFolder(Path folder, List<Path> found) throws IOException {
        Path state = folder.resolve(STATE);
        if (!Files.exists(state)) {
            return open(folder, found);
        }
        JsonObject json = Json.readObject(state);
        if (json.has("_indices_data_files") || json.has("_indices_files")) {
            throw new IOException(state + ": expected rows as they are stored, found a selection of them: call"
                    + " flatten_indices() before save_to_disk()");
        }
        List<Path> files = new ArrayList<>();
        for (JsonObject file : json.objects("_data_files")) {
            String name = file.string("filename");
            Path path = folder.resolve(name).normalize();
            if (!path.startsWith(folder.normalize()) || !Files.isRegularFile(path)) {
                throw new IOException(state + ": expected the names of files of this folder, found " + name);
            }
            files.add(path);
        }
        return open(folder, files);
    }

    static ArrowPairs open(Path root, List<Path> files) throws IOException {
        List<Part> parts = new ArrayList<>();
        int[] firsts = new int[files.size() + 1];
        PairLabels.Builder labels = new PairLabels.Builder();
        try {
            for (Path file : files) {
                ArrowStream stream = ArrowStream.open(file);
                Part part = part(file, stream);
                parts.add(part);
                for (int row = 0; row < stream.rows(); row++) {
                    try {
                        labels.add(fields(part, row, true));
                    } catch (BadPairException e) {
                        labels.addUnknown();
                    }
                }
                firsts[parts.size()] = labels.size();
            }
            return new ArrowPairs(root, parts, firsts, labels.build());
        } catch (IOException | RuntimeException e) {
            for (Part part : parts) {
                part.stream.close();
            }
            throw e;
        }
    }

    private static Part part(Path file, ArrowStream stream) throws IOException {
        try {
            Map<String, Column> fields = new LinkedHashMap<>();
            for (var names : List.of(PairFields.NAMES, PairFields.LABELS)) {
                for (String name : names) {
                    Column column = stream.columns().get(name);
                    if (column != null
                            && column.type() != ArrowStream.Type.OTHER
                            && column.type() != ArrowStream.Type.STRUCT) {
                        fields.put(name, column);
                    }
                }
            }
            if (!fields.containsKey("caption")) {
                throw missing(file, "caption", stream);
            }
            return new Part(file, stream, image(file, stream, "0"), image(file, stream, "1"), fields);
        } catch (IOException | RuntimeException e) {
            stream.close();
            throw e;
        }
    }

    private static Column image(Path file, ArrowStream stream, String which) throws IOException {
        for (String name : new String[] {"jpg_" + which, "image_" + which}) {
            Column column = stream.columns().get(name);
            if (column != null && column.type() == ArrowStream.Type.STRUCT && column.child("bytes") != null) {
                column = column.child("bytes");
            }
            if (column != null && column.type() != ArrowStream.Type.BYTES) {
                throw new IOException(file + ": column " + name
                        + ": expected bytes, or a struct of bytes and path, found " + column.type());
            }
            if (column != null) {
                return column;
            }
        }
        throw missing(file, "jpg_" + which, stream);
    }

    private static IOException missing(Path file, String column, ArrowStream stream) {
        return new IOException(file + ": expected a column " + column + ", found "
                + String.join(", ", stream.columns().keySet()));
    }

    private static PairFields fields(Part part, int row, boolean labelsOnly) throws IOException, BadPairException {
        String where = part.file.getFileName() + ": row " + row;
        Map<String, Object> values = new HashMap<>();
        for (Map.Entry<String, Column> field : part.fields.entrySet()) {
            if (labelsOnly && !PairFields.LABELS.contains(field.getKey())) {
                continue;
            }
            try {
                values.put(field.getKey(), part.stream.value(field.getValue(), row));
            } catch (CharacterCodingException e) {
                throw new BadPairException(
                        Problem.BAD_TEXT, where + ": " + field.getKey() + ": expected UTF-8, found bytes that are not");
            }
        }
        return new PairFields(where, values);
    }

    @Override
    public int size() {
        return labels.size();
    }

    @Override
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        List<PairRecord> records = new ArrayList<>(indices.size());
        for (int index : indices) {
            Objects.checkIndex(index, size());
            int number = Arrays.binarySearch(firsts, index);
            number = number >= 0 ? number : -number - 2;
            while (firsts[number + 1] <= index) {
                number++;
            }
            Part part = parts.get(number);
            int row = index - firsts[number];
            String id = part.file.getFileName() + ": row " + row;
            try {
                PairFields fields = fields(part, row, false);
                id = fields.id(id);
                records.add(new PreferencePair(
                        index,
                        id,
                        fields.caption(),
                        image(part, row, 0),
                        image(part, row, 1),
                        fields.people(),
                        fields.scores()));
            } catch (BadPairException e) {
                records.add(e.of(index, id));
            }
        }
        return records;
    }

    private static EncodedImage image(Part part, int row, int which) throws IOException, BadPairException {
        String where = part.file.getFileName() + ": row " + row + ": image " + which;
        Object value = part.stream.value(which == 0 ? part.image0 : part.image1, row);
        if (!(value instanceof byte[] bytes)) {
            throw new BadPairException(
                    Problem.MISSING_FIELD,
                    where + ": expected the image's bytes, found nothing: save_to_disk embeds images only when they are"
                            + " loaded");
        }
        if (bytes.length > FolderPairs.MAX_IMAGE_BYTES) {
            throw new BadPairException(
                    Problem.IMAGE_TOO_LARGE,
                    where + ": expected at most " + FolderPairs.MAX_IMAGE_BYTES + " bytes, found " + bytes.length);
        }
        return EncodedImage.of(where, bytes);
    }

    @Override
    public String fingerprint() throws IOException {
        Fingerprint fingerprint = new Fingerprint(root);
        for (Part part : parts) {
            fingerprint.addEdges(part.file);
        }
        for (int i = 0; i < size(); i++) {
            fingerprint.add(labels.people(i) + " " + labels.scores(i), 0);
        }
        return fingerprint.hex();
    }

    @Override
    public String describe() {
        return size() + " pairs of " + parts.size() + " Arrow file" + (parts.size() == 1 ? "" : "s") + ": "
                + parts.get(0).file + (parts.size() == 1 ? "" : ", ...");
    }

    @Override
    public void close() throws IOException {
        for (Part part : parts) {
            part.stream.close();
        }
    }
}
