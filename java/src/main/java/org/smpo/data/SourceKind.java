package org.smpo.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.List;
import java.util.Optional;
import org.smpo.io.FileContent;
import org.smpo.io.HubCache;
import org.smpo.io.Rendering;
import org.smpo.io.TextStart;

/// The formats of pair sources, recognized by content.
enum SourceKind {
    JSON_LINES("JSON lines"),
    PARQUET("Parquet"),
    TAR("tar shards"),
    ARROW("Arrow");

    private static final int TAR_MAGIC_AT = 257;
    private static final int START_BYTES = 512;

    private final String title;

    SourceKind(String title) {
        this.title = title;
    }

    /// The name in messages.
    String title() {
        return title;
    }

    static PairSource open(Path given, Optional<String> split, Rendering rendering) throws IOException {
        Path path = HubCache.standard().find(given, HubCache.Kind.DATASET);
        if (Files.isDirectory(path)) {
            return SourceFolder.open(path, split, rendering);
        }
        if (split.isPresent() && Files.exists(path)) {
            throw new IOException(path + ": expected a folder, since the split " + split.get()
                    + " is chosen, found a file; name the folder, or leave the split out");
        }
        if (Files.isRegularFile(path)) {
            return files(path.toAbsolutePath().getParent(), List.of(path), path.toString(), rendering);
        }
        Path name = path.getFileName();
        Path parent = path.toAbsolutePath().getParent();
        if (name != null && parent != null && name.toString().matches(".*[*?{\\[].*") && Files.isDirectory(parent)) {
            PathMatcher matcher = FileSystems.getDefault().getPathMatcher("glob:" + name);
            List<Path> files = SourceFolder.list(parent).stream()
                    .filter(file -> Files.isRegularFile(file) && matcher.matches(file.getFileName()))
                    .toList();
            if (files.isEmpty()) {
                throw new IOException(path + ": expected files of this name, found none");
            }
            return files(parent, files, path.toString(), rendering);
        }
        throw new IOException(path + ": expected a data set's folder or file, found "
                + (Files.exists(path) ? "neither a folder nor a regular file" : "nothing"));
    }

    private static PairSource files(Path root, List<Path> files, String shown, Rendering rendering) throws IOException {
        SourceKind kind = of(files.get(0));
        for (Path file : files) {
            SourceKind other = of(file);
            if (other != kind) {
                throw new IOException(shown + ": expected files of one kind, found " + kind.title + " ("
                        + files.get(0).getFileName() + ") and " + other.title + " (" + file.getFileName() + ")");
            }
        }
        if (kind == JSON_LINES && files.size() > 1) {
            throw new IOException(shown + ": expected one file of JSON lines, found " + files.size());
        }
        return kind.open(root, files, rendering);
    }

    /// Opens files of this format as one source.
    PairSource open(Path root, List<Path> files, Rendering rendering) throws IOException {
        return RecordPairs.of(
                switch (this) {
                    case JSON_LINES -> JsonLineRecords.open(files.get(0));
                    case PARQUET -> ParquetRecords.open(root, files);
                    case TAR -> TarRecords.open(root, files);
                    case ARROW -> ArrowRecords.open(root, files);
                },
                rendering);
    }

    private static SourceKind of(Path file) throws IOException {
        byte[] start;
        try (InputStream in = Files.newInputStream(file)) {
            start = in.readNBytes(START_BYTES);
        }
        int skipped = TextStart.of(file, start).length();
        String text = new String(start, skipped, start.length - skipped, StandardCharsets.ISO_8859_1);
        if (text.startsWith("PAR1")) {
            return PARQUET;
        }
        if (text.startsWith("ARROW1") || text.startsWith("\u00ff\u00ff\u00ff\u00ff")) {
            return ARROW;
        }
        if (text.startsWith("ustar", TAR_MAGIC_AT)
                || (start.length == START_BYTES && text.startsWith("\0".repeat(START_BYTES)))) {
            return TAR;
        }
        if (text.stripLeading().startsWith("{")) {
            return JSON_LINES;
        }
        if (text.startsWith("\u001f\u008b")) {
            throw new IOException(
                    file + ": expected an uncompressed file, found gzip: unpack it first, pairs are read in"
                            + " random order");
        }
        throw new IOException(file + ": expected Parquet, tar, Arrow or JSON lines, found "
                + FileContent.describe(file).orElse("none of them"));
    }
}
