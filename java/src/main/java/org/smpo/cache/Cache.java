package org.smpo.cache;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import org.smpo.io.AtomicFiles;
import org.smpo.io.CacheFolder;

/// A content-addressed store of computed values on disk.
///
/// The name of an entry is the digest of its key, so its content never changes, and several processes may
/// read, write and prune the same folder at once. When two of them compute the same value, the last file
/// stays. An entry appears whole or not at all ([AtomicFiles]), and each read compares it with its recorded
/// digest: a damaged entry is reported,
/// deleted and computed again, never used.
///
/// Safe for use by several threads. Layout: `v1/KIND/AB/ABCD....safetensors`; the modification time of a
/// file is the time of its last use, to the hour.
public final class Cache {
    private static final String SUFFIX = ".safetensors";

    /// Uses within this time are not recorded, since recording one costs a write.
    private static final Duration USE_RESOLUTION = Duration.ofHours(1);

    private final Path root;
    private final Consumer<String> warnings;
    private final Set<Path> reported = ConcurrentHashMap.newKeySet();

    private Cache(Path root, Consumer<String> warnings) {
        this.root = root;
        this.warnings = warnings;
    }

    /// A cached file.
    ///
    /// @param file path of the file
    /// @param kind kind of the value
    /// @param bytes size of the file
    /// @param lastUse time of the last use, to the hour
    public record Entry(Path file, String kind, long bytes, Instant lastUse) {}

    /// Number of files and their bytes.
    public record Total(long count, long bytes) {
        Total plus(Entry entry) {
            return new Total(count + 1, bytes + entry.bytes());
        }

        /// No files.
        static Total zero() {
            return new Total(0, 0);
        }
    }

    /// An entry that cannot be used, and the reason.
    public record Damage(Path file, String reason) {}

    /// Results of [#verify].
    ///
    /// @param sound entries that match their digests
    /// @param damaged all other entries
    public record Verification(Total sound, List<Damage> damaged) {}

    /// Which entries are removed: those beyond one of the limits, least recently used first. With neither an
    /// age nor a size, all entries of the kinds are removed.
    ///
    /// @param kinds kinds of the entries; empty for all kinds
    /// @param olderThan time since the last use after which an entry is removed; null for no limit
    /// @param maxBytes total size that may remain of these kinds; negative for no limit
    public record PruneLimits(Set<String> kinds, Duration olderThan, long maxBytes) {
        public PruneLimits {
            kinds = Set.copyOf(kinds);
        }
    }

    /// Results of [#prune].
    ///
    /// @param removed entries that were removed
    /// @param left entries of all kinds that remain
    public record Pruning(Total removed, Total left) {}

    /// Computes the values that were not found.
    @FunctionalInterface
    public interface Computation {
        /// Computes values, in the order of `missing`.
        ///
        /// @param missing indices of the missing keys, ascending, each key once
        /// @return one value per index, in that order
        List<Map<String, CachedTensor>> compute(List<Integer> missing) throws IOException;
    }

    /// The folder `cache` in [CacheFolder#find].
    public static Path defaultFolder() {
        return CacheFolder.find().resolve("cache");
    }

    /// Opens the cache in a folder, which is created when something is stored.
    ///
    /// @param warnings told once about each damaged entry, and once when the folder cannot be used
    public static Cache open(Path folder, Consumer<String> warnings) {
        return new Cache(folder.resolve("v" + EntryFile.FORMAT), warnings);
    }

    Path file(CacheKey key) {
        String name = key.sha256();
        return root.resolve(key.kind()).resolve(name.substring(0, 2)).resolve(name + SUFFIX);
    }

    /// The value under a key, if there is an entry and it is sound.
    ///
    /// @throws IOException when the disk cannot be read
    public Optional<SortedMap<String, CachedTensor>> find(CacheKey key) throws IOException {
        Path file = file(key);
        try {
            EntryFile.Content content = EntryFile.read(file);
            if (!content.key().equals(key)) {
                throw new EntryFile.Corrupted("it holds another key's value, " + content.key());
            }
            noteUse(file);
            return Optional.of(content.tensors());
        } catch (NoSuchFileException e) {
            return Optional.empty();
        } catch (EntryFile.Corrupted e) {
            if (reported.add(file)) {
                warnings.accept("cache: " + file + " is damaged (" + e.getMessage() + "); its value is computed again");
            }
            // If another process has just replaced the entry, a sound one is deleted and computed again.
            Files.deleteIfExists(file);
            return Optional.empty();
        }
    }

    /// Whether there is an entry under a key; it may still turn out to be damaged.
    boolean contains(CacheKey key) {
        return Files.exists(file(key));
    }

    /// Records a use. The entry may have been pruned meanwhile; its value is in memory.
    private static void noteUse(Path file) throws IOException {
        Instant now = Instant.now();
        if (Files.exists(file) && Files.getLastModifiedTime(file).toInstant().isBefore(now.minus(USE_RESOLUTION))) {
            Files.setLastModifiedTime(file, FileTime.from(now));
        }
    }

    /// Stores a value.
    ///
    /// @throws IOException when it cannot be written; an old entry is then untouched
    public void put(CacheKey key, Map<String, CachedTensor> tensors) throws IOException {
        Path file = file(key);
        Files.createDirectories(file.getParent());
        EntryFile.write(file, key, tensors);
    }

    /// Returns the values under these keys. Missing values are computed all at once and stored.
    ///
    /// @return one value per key, in order
    /// @throws IOException when the computation fails
    public List<SortedMap<String, CachedTensor>> getOrCompute(List<CacheKey> keys, Computation computation)
            throws IOException {
        Map<CacheKey, SortedMap<String, CachedTensor>> values = new LinkedHashMap<>();
        List<Integer> missing = new ArrayList<>();
        Set<CacheKey> seen = new HashSet<>();
        for (int i = 0; i < keys.size(); i++) {
            CacheKey key = keys.get(i);
            if (seen.add(key)) {
                Optional<SortedMap<String, CachedTensor>> found = lookUp(key);
                if (found.isPresent()) {
                    values.put(key, found.get());
                } else {
                    missing.add(i);
                }
            }
        }
        if (!missing.isEmpty()) {
            List<Map<String, CachedTensor>> computed = computation.compute(List.copyOf(missing));
            if (computed.size() != missing.size()) {
                throw new IllegalStateException(
                        "cache: expected " + missing.size() + " computed values, got " + computed.size());
            }
            for (int i = 0; i < missing.size(); i++) {
                CacheKey key = keys.get(missing.get(i));
                store(key, computed.get(i));
                values.put(key, new TreeMap<>(computed.get(i)));
            }
        }
        return keys.stream().map(values::get).toList();
    }

    /// Finds a value where possible: a cache that cannot be read does not end a run.
    private Optional<SortedMap<String, CachedTensor>> lookUp(CacheKey key) {
        try {
            return find(key);
        } catch (IOException e) {
            reportUnusable(e);
            return Optional.empty();
        }
    }

    /// Stores a value where possible: a cache that is full or read-only does not end a run.
    private void store(CacheKey key, Map<String, CachedTensor> tensors) {
        try {
            put(key, tensors);
        } catch (IOException e) {
            reportUnusable(e);
        }
    }

    private void reportUnusable(IOException e) {
        if (reported.add(root)) {
            warnings.accept("cache: " + root + " cannot be used (" + e + "); values are computed without being cached");
        }
    }

    /// All entries, ordered by kind and name.
    ///
    /// @throws IOException when the folder cannot be read
    public List<Entry> entries() throws IOException {
        List<Entry> entries = new ArrayList<>();
        if (!Files.isDirectory(root)) {
            return entries;
        }
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                Path within = root.relativize(file);
                String name = file.getFileName().toString();
                if (within.getNameCount() == 3 && name.endsWith(SUFFIX) && !name.startsWith(".")) {
                    entries.add(new Entry(
                            file,
                            within.getName(0).toString(),
                            attributes.size(),
                            attributes.lastModifiedTime().toInstant()));
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFileFailed(Path file, IOException failure) throws IOException {
                if (failure instanceof NoSuchFileException) {
                    return FileVisitResult.CONTINUE; // pruned by another process meanwhile
                }
                throw failure;
            }
        });
        entries.sort(Comparator.comparing(Entry::file));
        return entries;
    }

    /// Entries and bytes by kind.
    public SortedMap<String, Total> totals() throws IOException {
        SortedMap<String, Total> totals = new TreeMap<>();
        for (Entry entry : entries()) {
            totals.merge(entry.kind(), Total.zero().plus(entry), (sum, one) -> sum.plus(entry));
        }
        return totals;
    }

    /// Reads every entry and compares it with its digest and its name. Also removes what dead processes left
    /// behind.
    ///
    /// @param remove whether damaged entries are deleted
    public Verification verify(boolean remove) throws IOException {
        recover();
        Total sound = Total.zero();
        List<Damage> damaged = new ArrayList<>();
        for (Entry entry : entries()) {
            try {
                sound = isThereAndSound(entry.file()) ? sound.plus(entry) : sound;
            } catch (EntryFile.Corrupted e) {
                damaged.add(new Damage(entry.file(), e.getMessage()));
                if (remove) {
                    Files.deleteIfExists(entry.file());
                }
            }
        }
        return new Verification(sound, damaged);
    }

    /// Compares an entry with its digest and its name.
    ///
    /// @return false when another process has removed it
    private boolean isThereAndSound(Path file) throws IOException, EntryFile.Corrupted {
        try {
            EntryFile.Content content = EntryFile.read(file);
            if (!file(content.key()).equals(file)) {
                throw new EntryFile.Corrupted("it holds another key's value, " + content.key());
            }
            return true;
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    /// Removes entries, least recently used first, and what dead processes left behind.
    ///
    /// @param now time from which ages are counted
    public Pruning prune(PruneLimits limits, Instant now) throws IOException {
        recover();
        List<Entry> all = entries();
        List<Entry> candidates = all.stream()
                .filter(entry -> limits.kinds().isEmpty() || limits.kinds().contains(entry.kind()))
                .sorted(Comparator.comparing(Entry::lastUse).thenComparing(Entry::file))
                .toList();
        boolean everything = limits.olderThan() == null && limits.maxBytes() < 0;
        long bytes = candidates.stream().mapToLong(Entry::bytes).sum();
        Total removed = Total.zero();
        for (Entry entry : candidates) {
            boolean old = limits.olderThan() != null && entry.lastUse().isBefore(now.minus(limits.olderThan()));
            boolean tooMuch = limits.maxBytes() >= 0 && bytes > limits.maxBytes();
            if (everything || old || tooMuch) {
                Files.deleteIfExists(entry.file());
                removed = removed.plus(entry);
                bytes -= entry.bytes();
            }
        }
        Total kept = Total.zero();
        for (Entry entry : all) {
            kept = kept.plus(entry);
        }
        return new Pruning(removed, new Total(kept.count() - removed.count(), kept.bytes() - removed.bytes()));
    }

    /// Deletes the partial files of processes that died while writing.
    private void recover() throws IOException {
        if (!Files.isDirectory(root)) {
            return;
        }
        for (Path kind : folders(root)) {
            for (Path shelf : folders(kind)) {
                AtomicFiles.recover(shelf);
            }
        }
    }

    private static List<Path> folders(Path parent) throws IOException {
        List<Path> folders = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(parent, Files::isDirectory)) {
            entries.forEach(folders::add);
        }
        return folders;
    }
}
