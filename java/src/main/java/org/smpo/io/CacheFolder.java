package org.smpo.io;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/// The folder for everything that smpo can compute or fetch again: `$SMPO_CACHE`, else `$XDG_CACHE_HOME/smpo`, else
/// `$HOME/.cache/smpo`. If it cannot be written, a folder for temporary files is used instead, with a warning.
public final class CacheFolder {
    private static final System.Logger LOG = System.getLogger(CacheFolder.class.getName());

    private static final Path FOUND = find(
            System.getenv(),
            System.getProperty("user.home"),
            Path.of(System.getProperty("java.io.tmpdir")),
            warning -> LOG.log(System.Logger.Level.WARNING, warning));

    private CacheFolder() {}

    /// Returns the cache folder of this process. It need not exist yet.
    public static Path find() {
        return FOUND;
    }

    static Path find(Map<String, String> environment, String userHome, Path temporary, Consumer<String> warnings) {
        List<Path> places = new ArrayList<>();
        String cache = environment.getOrDefault("SMPO_CACHE", "");
        if (!cache.isBlank()) {
            places.add(Path.of(cache));
        }
        String xdg = environment.getOrDefault("XDG_CACHE_HOME", "");
        if (!xdg.isBlank()) {
            places.add(Path.of(xdg, "smpo"));
        }
        String home = environment.getOrDefault("HOME", "");
        if (!home.isBlank()) {
            places.add(Path.of(home, ".cache", "smpo"));
        }
        // Java sets user.home to "?" when it does not know the user.
        if (userHome != null && Path.of(userHome).isAbsolute()) {
            places.add(Path.of(userHome, ".cache", "smpo"));
        }
        for (Path place : places) {
            if (writable(place.toAbsolutePath())) {
                return place.toAbsolutePath();
            }
        }
        String user = System.getProperty("user.name", "user").replaceAll("[^A-Za-z0-9_.-]", "_");
        Path fallback = temporary.resolve("smpo-" + user);
        warnings.accept((places.isEmpty() ? "there is no home folder" : places.getFirst() + " cannot be written")
                + "; caching in " + fallback + " (choose another folder with SMPO_CACHE)");
        return fallback;
    }

    /// Whether the folder is or could be made.
    private static boolean writable(Path folder) {
        for (Path existing = folder; existing != null; existing = existing.getParent()) {
            if (Files.exists(existing)) {
                return Files.isDirectory(existing) && Files.isWritable(existing);
            }
        }
        return false;
    }
}
