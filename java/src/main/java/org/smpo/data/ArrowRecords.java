package org.smpo.data;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.io.ArrowStream;
import org.smpo.io.ArrowStream.Column;
import org.smpo.io.Closer;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// A data set as Hugging Face's `save_to_disk` writes it: `state.json` names the files, each an Arrow stream.
final class ArrowRecords implements Records {
    private static final String STATE = "state.json";

    private final Path root;
    private final List<Part> parts;
    private final FileRows rows;
    private final Closer closer;

    private ArrowRecords(Path root, List<Part> parts, Closer closer) {
        this.root = root;
        this.parts = parts;
        this.rows = new FileRows(parts.stream().map(part -> part.stream.rows()).toList());
        this.closer = closer;
    }

    /// One file and its columns.
    ///
    /// @param images columns of image 0 and image 1
    /// @param fields other columns by field
    /// @param chosenFirst whether image 0 is the chosen one by the name of its column
    private record Part(
            Path file, ArrowStream stream, List<Column> images, Map<String, Column> fields, boolean chosenFirst) {}

    /// @param found the folder's Arrow files, where `state.json` does not name them
    static ArrowRecords openFolder(Path folder, List<Path> found) throws IOException {
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

    static ArrowRecords open(Path root, List<Path> files) throws IOException {
        Closer closer = new Closer();
        try {
            List<Part> parts = new ArrayList<>();
            for (Path file : files) {
                parts.add(part(file, closer.add(ArrowStream.open(file))));
            }
            return new ArrowRecords(root, parts, closer);
        } catch (IOException | RuntimeException e) {
            closer.closeAfter(e);
            throw e;
        }
    }

    private static Part part(Path file, ArrowStream stream) throws IOException {
        PairColumns columns = PairColumns.of(file, stream.columns().keySet());
        Map<String, Column> fields = new LinkedHashMap<>();
        for (String name : columns.fields()) {
            Column column = stream.columns().get(name);
            if (column.type() != ArrowStream.Type.OTHER && column.type() != ArrowStream.Type.STRUCT) {
                fields.put(name, column);
            }
        }
        List<Column> images = new ArrayList<>();
        for (String name : columns.images()) {
            images.add(image(file, name, stream.columns().get(name)));
        }
        return new Part(file, stream, images, fields, columns.chosenFirst());
    }

    private static Column image(Path file, String name, Column found) throws IOException {
        Column column =
                found.type() == ArrowStream.Type.STRUCT && found.child("bytes") != null ? found.child("bytes") : found;
        if (column.type() != ArrowStream.Type.BYTES) {
            throw new IOException(file + ": column " + name + ": expected bytes, or a struct of bytes and path, found "
                    + column.type());
        }
        return column;
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
        return new PairFields(where, values, part.chosenFirst);
    }

    @Override
    public int size() {
        return rows.size();
    }

    @Override
    public String name(int index) {
        return parts.get(rows.part(index)).file.getFileName() + ": row " + rows.row(index);
    }

    @Override
    public void readLabels(LabelSink sink) throws IOException {
        for (Part part : parts) {
            for (int i = 0; i < part.stream.rows(); i++) {
                int row = i;
                sink.add(() -> fields(part, row, true));
            }
        }
    }

    @Override
    public List<Raw> read(List<Integer> indices) {
        return indices.stream()
                .<Raw>map(index -> new Row(parts.get(rows.part(index)), rows.row(index)))
                .toList();
    }

    private record Row(Part part, int row) implements Raw {
        @Override
        public PairFields fields() throws IOException, BadPairException {
            return ArrowRecords.fields(part, row, false);
        }

        @Override
        public EncodedImage image(int which) throws IOException, BadPairException {
            String where = part.file.getFileName() + ": row " + row + ": image " + which;
            Object value = part.stream.value(part.images.get(which), row);
            if (!(value instanceof byte[] bytes)) {
                throw new BadPairException(
                        Problem.MISSING_FIELD,
                        where + ": expected the image's bytes, found nothing: save_to_disk embeds images only when they"
                                + " are loaded");
            }
            RecordPairs.requireSize(where, bytes.length);
            return EncodedImage.of(where, bytes);
        }
    }

    @Override
    public String fingerprint(PairLabels labels) throws IOException {
        Fingerprint fingerprint = new Fingerprint(root);
        for (Part part : parts) {
            fingerprint.addEdges(part.file);
        }
        return fingerprint.addLabels(labels).hex();
    }

    @Override
    public String describe() {
        return FileRows.describe(parts.stream().map(Part::file).toList(), "Arrow file");
    }

    @Override
    public void close() throws IOException {
        closer.close();
    }
}
