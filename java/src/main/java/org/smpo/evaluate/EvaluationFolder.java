package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.smpo.io.AtomicFiles;
import org.smpo.io.FolderLock;
import org.smpo.io.Json;

/// The folder of an evaluation, open in one process at a time.
///
/// ```text
/// manifest.json       identity of the evaluation (digests, settings) and the program that began it
/// pictures/N-MODEL/   images, PROMPT-SEED.png
/// journal.jsonl       finished images and scores, in order
/// results.parquet     one row per model and image
/// report.html         the report
/// report.json         every number of the report; written last
/// ```
final class EvaluationFolder implements AutoCloseable {
    private static final String IDENTITY = "identity";
    private static final String MADE_BY = "made_by";

    /// Key, in an identity, of the metrics.
    static final String MEASURES = "measures";

    private final Path root;
    private final FolderLock lock;

    private EvaluationFolder(Path root, FolderLock lock) {
        this.root = root;
        this.lock = lock;
    }

    /// Opens a folder, creating it if necessary, and locks it.
    ///
    /// @param warnings receives a warning when the file system has no locks
    /// @throws IOException when the folder cannot be created, holds something else, or is open in another
    ///     process
    static EvaluationFolder open(Path root, Consumer<String> warnings) throws IOException {
        if (Files.isDirectory(root)) {
            requireOurs(root);
        }
        FolderLock lock = FolderLock.acquire(root, "an evaluation", warnings);
        try {
            recover(root);
            return new EvaluationFolder(root, lock);
        } catch (IOException e) {
            lock.close();
            throw e;
        }
    }

    /// Removes what a killed process left unfinished.
    private static void recover(Path root) throws IOException {
        AtomicFiles.recover(root);
        Path images = root.resolve("pictures");
        if (Files.isDirectory(images)) {
            try (var folders = Files.list(images)) {
                for (Path folder : folders.filter(Files::isDirectory).toList()) {
                    AtomicFiles.recover(folder);
                }
            }
        }
    }

    /// Refuses a folder that holds something else.
    private static void requireOurs(Path root) throws IOException {
        if (Files.exists(root.resolve("manifest.json"))) {
            if (!Json.readObject(root.resolve("manifest.json")).has(IDENTITY)) {
                throw new IOException(root
                        + ": expected an evaluation or an empty folder, found another manifest.json; choose another");
            }
            return;
        }
        try (var files = Files.list(root)) {
            if (files.anyMatch(file -> !file.getFileName().toString().startsWith("."))) {
                throw new IOException(
                        root + ": expected an evaluation or an empty folder, found other files; choose another");
            }
        }
    }

    Path root() {
        return root;
    }

    Path journal() {
        return root.resolve("journal.jsonl");
    }

    Path results() {
        return root.resolve("results.parquet");
    }

    Path json() {
        return json(root);
    }

    /// Returns the file with the numbers of an evaluation.
    static Path json(Path folder) {
        return folder.resolve("report.json");
    }

    Path html() {
        return root.resolve("report.html");
    }

    /// Returns the path of an image relative to the root.
    static String image(int model, String name, EvaluationRequest.ImageSpec spec) {
        return String.format(
                Locale.ROOT,
                "pictures/%d-%s/%05d-%d.png",
                model,
                name.replaceAll("[^A-Za-z0-9._-]", "_"),
                spec.promptIndex(),
                spec.seed());
    }

    /// Writes the identity of the evaluation, or compares it with that of the evaluation in the folder. The
    /// metrics may be more than those of the evaluation in the folder, which is then one with all of them.
    ///
    /// @return the program that began the evaluation
    /// @throws IOException when the folder has another evaluation, naming the difference
    Map<String, Object> begin(Map<String, Object> identity, Map<String, Object> madeBy) throws IOException {
        Path file = root.resolve("manifest.json");
        if (Files.notExists(file)) {
            Json.write(file, Map.of(IDENTITY, identity, MADE_BY, madeBy));
            return madeBy;
        }
        Map<String, Object> before = Json.readObject(file).asMap();
        // A round trip through JSON, so that 1 and 1L compare equal.
        Map<String, Object> now =
                Json.parseObject("identity", Json.canonical(identity)).asMap();
        String difference = difference("", comparable(before.get(IDENTITY)), comparable(withKnown(before, now)));
        if (difference != null) {
            throw new IOException(root + ": the evaluation there was begun with " + difference
                    + ": give the same models, prompts and settings, or choose another folder");
        }
        Map<String, Object> by = Json.readObject(file).object(MADE_BY).asMap();
        if (!before.get(IDENTITY).equals(now)) {
            Json.write(file, Map.of(IDENTITY, identity, MADE_BY, by));
        }
        return by;
    }

    /// Returns an identity without the metrics that the evaluation in the folder does not have yet.
    private static Map<String, Object> withKnown(Map<String, Object> before, Map<String, Object> now) {
        if (!(before.get(IDENTITY) instanceof Map<?, ?> old)
                || !(old.get(MEASURES) instanceof List<?> known)
                || !(now.get(MEASURES) instanceof List<?> metrics)) {
            return now;
        }
        Set<Object> names = known.stream().map(EvaluationFolder::name).collect(Collectors.toSet());
        Map<String, Object> rest = new LinkedHashMap<>(now);
        rest.put(
                MEASURES,
                metrics.stream().filter(metric -> names.contains(name(metric))).toList());
        return rest;
    }

    private static Object name(Object metric) {
        return metric instanceof Map<?, ?> fields ? fields.get("name") : null;
    }

    /// Returns an identity without the descriptions of its metrics: their digests decide, and words may be
    /// reworded.
    private static Object comparable(Object value) {
        return switch (value) {
            case Map<?, ?> map -> {
                Map<Object, Object> rest = new LinkedHashMap<>();
                map.forEach((key, part) -> {
                    if (!"what".equals(key)) {
                        rest.put(key, comparable(part));
                    }
                });
                yield rest;
            }
            case List<?> list -> list.stream().map(EvaluationFolder::comparable).toList();
            case null -> null;
            default -> value;
        };
    }

    /// Returns a description of the first difference, or null.
    static String difference(String path, Object before, Object now) {
        if (before instanceof Map<?, ?> old && now instanceof Map<?, ?> current) {
            TreeSet<Object> keys = new TreeSet<>(old.keySet());
            keys.addAll(current.keySet());
            for (Object key : keys) {
                String found =
                        difference(path.isEmpty() ? key.toString() : path + "." + key, old.get(key), current.get(key));
                if (found != null) {
                    return found;
                }
            }
            return null;
        }
        if (before instanceof List<?> old && now instanceof List<?> current && old.size() == current.size()) {
            for (int i = 0; i < old.size(); i++) {
                String found = difference(path + "[" + (i + 1) + "]", old.get(i), current.get(i));
                if (found != null) {
                    return found;
                }
            }
            return null;
        }
        if (Objects.equals(before, now)) {
            return null;
        }
        boolean lists = before instanceof List<?> && now instanceof List<?>;
        return lists
                ? "another number of " + path + " (" + ((List<?>) before).size() + ", now " + ((List<?>) now).size()
                        + ")"
                : "another " + path + " (" + before + ", now " + now + ")";
    }

    @Override
    public void close() throws IOException {
        lock.close();
    }
}
