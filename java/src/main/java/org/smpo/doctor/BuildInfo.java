package org.smpo.doctor;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.Optional;
import java.util.jar.Attributes;
import java.util.jar.JarFile;
import java.util.jar.Manifest;
import org.smpo.ffi.LibraryInfo;

/// The sources that the Java classes and the native library were built from.
///
/// @param version Version of the Java classes, from the manifest of the jar; "development" outside a jar
/// @param commit Git commit of the Java sources; "unknown" if the jar does not name one
/// @param library Version, commit and LibTorch of the native library, or the reason why it cannot be loaded
public record BuildInfo(String version, String commit, String library) {
    private static final String UNKNOWN = "unknown";

    /// Reads the manifest and asks the library. Never throws on a library that cannot be loaded.
    public static BuildInfo read() {
        Attributes manifest = manifest().map(Manifest::getMainAttributes).orElseGet(Attributes::new);
        String library;
        try {
            LibraryInfo info = LibraryInfo.read();
            library = info.version() + ", commit " + info.commit() + ", LibTorch " + info.libtorch();
        } catch (LinkageError e) {
            library = "cannot be loaded: " + e.getMessage();
        }
        return new BuildInfo(
                value(manifest, "Implementation-Version", "development"),
                value(manifest, "Smpo-Commit", UNKNOWN),
                library);
    }

    /// Whether the Java classes and a library of the given commit are known to come from different sources.
    boolean differsFrom(String libraryCommit) {
        return !commit.equals(UNKNOWN) && !libraryCommit.equals(UNKNOWN) && !commit.equals(libraryCommit);
    }

    private static String value(Attributes manifest, String name, String otherwise) {
        String value = manifest.getValue(name);
        return value == null || value.isBlank() ? otherwise : value;
    }

    private static Optional<Manifest> manifest() {
        CodeSource source = BuildInfo.class.getProtectionDomain().getCodeSource();
        if (source == null || source.getLocation() == null) {
            return Optional.empty();
        }
        try {
            Path jar = Path.of(source.getLocation().toURI());
            if (!Files.isRegularFile(jar)) {
                return Optional.empty();
            }
            try (JarFile file = new JarFile(jar.toFile())) {
                return Optional.ofNullable(file.getManifest());
            }
        } catch (IOException | URISyntaxException | IllegalArgumentException e) {
            return Optional.empty();
        }
    }
}
