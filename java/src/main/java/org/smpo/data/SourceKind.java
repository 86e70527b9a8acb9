package org.smpo.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/// The kinds of source, told apart by content.
enum SourceKind {
    FOLDER("a folder with pairs.jsonl"),
    PARQUET("Parquet"),
    TAR("tar shards"),
    ARROW("Arrow");

    static final String PAIRS = "pairs.jsonl";

    private static final int TAR_MAGIC_AT = 257;

    private final String title;

    SourceKind(String title) {
        this.title = title;
    }

    static PairSource open(Path path) throws IOException {
        if (Files.isDirectory(path)) {
            return folder(path);
        }
        if (Files.isRegularFile(path)) {
            return files(path.toAbsolutePath().getParent(), List.of(path), path.toString());
        }
        Path name = path.getFileName();
        Path parent = path.toAbsolutePath().getParent();
        if (name != null && parent != null && name.toString().matches(".*[*?{\\[].*") && Files.isDirectory(parent)) {
            PathMatcher matcher = FileSystems.getDefault().getPathMatcher("glob:" + name);
            List<Path> files = list(parent).stream()
                    .filter(file -> Files.isRegularFile(file) && matcher.matches(file.getFileName()))
                    .toList();
            if (files.isEmpty()) {
                throw new IOException(path + ": expected files of this name, found none");
            }
            return files(parent, files, path.toString());
        }
        throw new IOException(path + ": expected a data set's folder or file, found nothing");
    }

    private static PairSource folder(Path folder) throws IOException {
        if (Files.exists(folder.resolve("dataset_dict.json"))) {
            throw new IOException(folder + ": expected one split of a data set, found several: name the folder of one ("
                    + String.join(", ", names(folder, Files::isDirectory)) + ")");
        }
        Map<SourceKind, List<Path>> found = new LinkedHashMap<>();
        if (Files.exists(folder.resolve(PAIRS))) {
            found.put(FOLDER, List.of(folder.resolve(PAIRS)));
        }
        List<Path> candidates = new ArrayList<>(list(folder));
        // Data sets of the Hub keep their Parquet one level down.
        if (Files.isDirectory(folder.resolve("data"))) {
            candidates.addAll(list(folder.resolve("data")));
        }
        for (Path file : candidates) {
            String name = file.getFileName().toString();
            SourceKind kind = name.endsWith(".parquet")
                    ? PARQUET
                    : name.endsWith(".tar") ? TAR : name.endsWith(".arrow") ? ARROW : null;
            if (kind != null && Files.isRegularFile(file)) {
                found.computeIfAbsent(kind, none -> new ArrayList<>()).add(file);
            }
        }
        if (found.size() > 1) {
            List<String> titles = new ArrayList<>();
            found.forEach(
                    (kind, files) -> titles.add(kind.title + " (" + files.get(0).getFileName() + ")"));
            throw new IOException(folder + ": expected one kind of data, found " + String.join(" and ", titles)
                    + ": name a file, or several with * as in '" + folder.resolve("*.parquet") + "'");
        }
        if (found.isEmpty()) {
            throw new IOException(folder + ": expected " + PAIRS + ", *.parquet, *.tar or *.arrow, found "
                    + (candidates.isEmpty()
                            ? "an empty folder"
                            : "none of them among " + candidates.size() + " files"));
        }
        SourceKind kind = found.keySet().iterator().next();
        return kind == ARROW ? ArrowPairs.openFolder(folder, found.get(kind)) : kind.open(folder, found.get(kind));
    }

    private static PairSource files(Path root, List<Path> files, String shown) throws IOException {
        SourceKind kind = of(files.get(0));
        for (Path file : files) {
            SourceKind other = of(file);
            if (other != kind) {
                throw new IOException(shown + ": expected files of one kind, found " + kind.title + " ("
                        + files.get(0).getFileName() + ") and " + other.title + " (" + file.getFileName() + ")");
            }
        }
        if (kind == FOLDER && files.size() > 1) {
            throw new IOException(shown + ": expected one file of JSON lines, found " + files.size());
        }
        return kind.open(root, files);
    }

    private PairSource open(Path root, List<Path> files) throws IOException {
        return switch (this) {
            case FOLDER -> FolderPairs.open(files.get(0));
            case PARQUET -> ParquetPairs.open(root, files);
            case TAR -> TarPairs.open(root, files);
            case ARROW -> ArrowPairs.open(root, files);
        };
    }

    private static SourceKind of(Path file) throws IOException {
        byte[] start;
        try (InputStream in = Files.newInputStream(file)) {
            start = in.readNBytes(512);
        }
        String text = new String(start, StandardCharsets.ISO_8859_1);
        if (text.startsWith("PAR1")) {
            return PARQUET;
        }
        if (text.startsWith("ARROW1") || text.startsWith("\u00ff\u00ff\u00ff\u00ff")) {
            return ARROW;
        }
        if (text.startsWith("ustar", TAR_MAGIC_AT) || (start.length == 512 && text.startsWith("\0".repeat(512)))) {
            return TAR;
        }
        if (text.stripLeading().startsWith("{")) {
            return FOLDER;
        }
        if (text.startsWith("\u001f\u008b")) {
            throw new IOException(
                    file + ": expected an uncompressed file, found gzip: unpack it first, pairs are read in"
                            + " random order");
        }
        throw new IOException(file + ": expected Parquet, tar, Arrow or JSON lines, found "
                + (start.length == 0 ? "an empty file" : "none of them"));
    }

    private interface Test {
        boolean matches(Path path);
    }

    private static List<String> names(Path folder, Test test) throws IOException {
        return list(folder).stream()
                .filter(test::matches)
                .map(path -> path.getFileName().toString())
                .toList();
    }

    private static List<Path> list(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> !file.getFileName().toString().startsWith("."))
                    .sorted(Comparator.comparing(Path::toString))
                    .toList();
        }
    }
}
