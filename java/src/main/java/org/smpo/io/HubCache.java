package org.smpo.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// The Hugging Face cache, where `hf download` and Python libraries keep what they fetched. smpo reads it and
/// fetches nothing.
///
/// @param root folder of the cache; it need not exist
public record HubCache(Path root) {
    /// The kinds of repository of the hub.
    public enum Kind {
        MODEL,
        DATASET;

        private String folder(String id) {
            return name().toLowerCase(Locale.ROOT) + "s--" + id.replace("/", "--");
        }

        private String download(String id) {
            return "hf download " + id + (this == DATASET ? " --repo-type dataset" : "");
        }
    }

    private static final Pattern ID = Pattern.compile("[A-Za-z0-9][\\w.-]*/[A-Za-z0-9][\\w.-]*");

    /// The cache that Hugging Face's libraries use in this environment: `$HF_HUB_CACHE`, else `hub` in `$HF_HOME`, in
    /// `$XDG_CACHE_HOME/huggingface` or in `~/.cache/huggingface`.
    public static HubCache standard() {
        return of(System.getenv(), System.getProperty("user.home"));
    }

    static HubCache of(Map<String, String> environment, String userHome) {
        for (String name : List.of("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")) {
            if (!environment.getOrDefault(name, "").isBlank()) {
                return new HubCache(Path.of(environment.get(name)));
            }
        }
        String home = environment.getOrDefault("HF_HOME", "");
        if (!home.isBlank()) {
            return new HubCache(Path.of(home, "hub"));
        }
        String xdg = environment.getOrDefault("XDG_CACHE_HOME", "");
        Path cache = xdg.isBlank() ? Path.of(environment.getOrDefault("HOME", userHome), ".cache") : Path.of(xdg);
        return new HubCache(cache.resolve("huggingface").resolve("hub"));
    }

    /// The path itself where something is there or it is no `OWNER/NAME`; else the repository's snapshot in the cache.
    ///
    /// @throws IOException when neither is there, with the command that downloads the repository
    public Path find(Path path, Kind kind) throws IOException {
        String id = path.toString();
        if (Files.exists(path) || !ID.matcher(id).matches()) {
            return path;
        }
        return snapshot(id, kind)
                .orElseThrow(() -> new IOException(id
                        + ": expected a file or folder of this name, or a repository in the"
                        + " Hugging Face cache (" + root + "), found neither; check the path, or download it with: "
                        + kind.download(id)));
    }

    /// The snapshot of the main revision, or the only one.
    private Optional<Path> snapshot(String id, Kind kind) throws IOException {
        Path repository = root.resolve(kind.folder(id));
        Path main = repository.resolve("refs").resolve("main");
        Path snapshots = repository.resolve("snapshots");
        if (Files.exists(main)) {
            Path snapshot = snapshots.resolve(Files.readString(main).strip());
            if (Files.isDirectory(snapshot)) {
                return Optional.of(snapshot);
            }
        }
        if (!Files.isDirectory(snapshots)) {
            return Optional.empty();
        }
        try (Stream<Path> found = Files.list(snapshots)) {
            List<Path> all = found.filter(Files::isDirectory).toList();
            return all.size() == 1 ? Optional.of(all.getFirst()) : Optional.empty();
        }
    }
}
