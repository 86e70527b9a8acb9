package org.smpo.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.smpo.io.Rendering;

/// Finds the data set in a folder: a list of pairs, data files here or in folders below, or the folders
/// `chosen` and `rejected`.
final class SourceFolder {
    /// Names of the file with one pair per line, in order of preference; the second is Hugging Face's
    /// imagefolder.
    private static final List<String> LISTS = List.of("pairs.jsonl", "metadata.jsonl");

    /// Depth to which data files are searched; the Hub's Parquet conversion has
    /// CONFIG/SPLIT/0000.parquet.
    private static final int MAX_DEPTH = 4;

    private final Path folder;
    private final Optional<String> chosen;
    private final Rendering rendering;

    private SourceFolder(Path folder, Optional<String> chosen, Rendering rendering) {
        this.folder = folder;
        this.chosen = chosen;
        this.rendering = rendering;
    }

    /// @param chosen split to take; empty: train, where there are several
    static PairSource open(Path folder, Optional<String> chosen, Rendering rendering) throws IOException {
        return new SourceFolder(folder, chosen, rendering).open();
    }

    private PairSource open() throws IOException {
        if (Files.exists(folder.resolve("dataset_dict.json"))) {
            return openDictionary();
        }
        Map<SourceKind, List<Path>> found = new LinkedHashMap<>();
        for (String name : LISTS) {
            if (found.isEmpty() && Files.isRegularFile(folder.resolve(name))) {
                found.put(SourceKind.JSON_LINES, List.of(folder.resolve(name)));
            }
        }
        List<Path> candidates = new ArrayList<>(list(folder));
        // Data sets of the Hub keep their Parquet one level down.
        if (Files.isDirectory(folder.resolve("data"))) {
            candidates.addAll(list(folder.resolve("data")));
        }
        addDataFiles(candidates, found);
        boolean isChosenAndRejected = ChosenRejectedRecords.isIn(folder);
        if (found.isEmpty() && !isChosenAndRejected) {
            List<Path> below = below();
            addDataFiles(below, found);
            for (String name : LISTS) {
                List<Path> lists = below.stream()
                        .filter(file -> file.getFileName().toString().equals(name))
                        .toList();
                if (found.isEmpty() && !lists.isEmpty()) {
                    found.put(SourceKind.JSON_LINES, lists);
                }
            }
        }
        if (found.size() > 1) {
            List<String> titles = new ArrayList<>();
            found.forEach((kind, files) ->
                    titles.add(kind.title() + " (" + files.get(0).getFileName() + ")"));
            throw new IOException(folder + ": expected one kind of data, found " + String.join(" and ", titles)
                    + ": name a file, or several with * as in '" + folder.resolve("*.parquet") + "'");
        }
        if (found.isEmpty() && isChosenAndRejected) {
            return RecordPairs.of(ChosenRejectedRecords.open(folder), rendering);
        }
        if (found.isEmpty()) {
            throw new IOException(folder + ": expected " + String.join(", ", LISTS)
                    + ", *.parquet, *.tar, *.arrow or the folders chosen and rejected, found "
                    + (candidates.isEmpty()
                            ? "an empty folder"
                            : "none of them among " + candidates.size() + " files (such as "
                                    + candidates.getFirst().getFileName() + "); other JSON lines are read when the"
                                    + " file itself is named"));
        }
        SourceKind kind = found.keySet().iterator().next();
        DataSplit split = DataSplit.choose(folder, found.get(kind), chosen);
        if (kind == SourceKind.JSON_LINES && split.files().size() > 1) {
            throw new IOException(folder + ": expected one list of pairs, found "
                    + split.files().size() + ": "
                    + split.files().stream()
                            .map(file -> folder.relativize(file).toString())
                            .collect(Collectors.joining(", "))
                    + "; name one");
        }
        PairSource source = kind == SourceKind.ARROW
                ? RecordPairs.of(ArrowRecords.openFolder(folder, split.files()), rendering)
                : kind.open(folder, split.files(), rendering);
        return split.note().isEmpty() ? source : new NotedPairs(source, split.note());
    }

    /// Opens a data set of several splits as `save_to_disk` writes it: a folder for each.
    private PairSource openDictionary() throws IOException {
        List<String> splits = list(folder).stream()
                .filter(Files::isDirectory)
                .map(path -> path.getFileName().toString())
                .toList();
        String split = DataSplit.named(folder, splits, chosen);
        PairSource source = open(folder.resolve(split), Optional.empty(), rendering);
        return splits.size() == 1 ? source : new NotedPairs(source, DataSplit.note(folder, splits, split));
    }

    private static void addDataFiles(List<Path> candidates, Map<SourceKind, List<Path>> found) {
        for (Path file : candidates) {
            String name = file.getFileName().toString();
            SourceKind kind = name.endsWith(".parquet")
                    ? SourceKind.PARQUET
                    : name.endsWith(".tar") ? SourceKind.TAR : name.endsWith(".arrow") ? SourceKind.ARROW : null;
            if (kind != null && Files.isRegularFile(file)) {
                found.computeIfAbsent(kind, none -> new ArrayList<>()).add(file);
            }
        }
    }

    /// Files in folders below, without hidden ones.
    private List<Path> below() throws IOException {
        try (Stream<Path> files = Files.walk(folder, MAX_DEPTH, FileVisitOption.FOLLOW_LINKS)) {
            return files.filter(file -> !folder.relativize(file).toString().matches("(^|.*/)\\..*"))
                    .filter(Files::isRegularFile)
                    .sorted(Comparator.comparing(Path::toString))
                    .toList();
        } catch (UncheckedIOException e) {
            throw new IOException(folder + ": cannot be searched for data: " + e.getCause(), e);
        }
    }

    /// Entries of a folder by name, without hidden ones.
    static List<Path> list(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> !file.getFileName().toString().startsWith("."))
                    .sorted(Comparator.comparing(Path::toString))
                    .toList();
        }
    }
}
