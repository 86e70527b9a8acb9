package org.smpo.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;

/// Recognizes files that are not what their names promise: what a failed download or clone leaves behind.
public final class FileContent {
    private static final int START = 512;

    private FileContent() {}

    /// Describes the actual content of a file and what to do about it, for a message after "found";
    /// empty if unknown.
    ///
    /// @throws IOException when the file cannot be read
    public static Optional<String> describe(Path file) throws IOException {
        byte[] bytes;
        try (InputStream in = Files.newInputStream(file)) {
            bytes = in.readNBytes(START);
        }
        if (bytes.length == 0) {
            return Optional.of("an empty file; download it again");
        }
        String start = new String(bytes, StandardCharsets.ISO_8859_1).strip().toLowerCase(Locale.ROOT);
        if (start.startsWith("version https://git-lfs.github.com/spec/")) {
            return Optional.of("a Git LFS pointer, not the file itself; run git lfs pull");
        }
        if (start.startsWith("<!doctype html") || start.startsWith("<html") || start.startsWith("<?xml")) {
            return Optional.of("a web page (HTML), such as an error or a sign-in page; download the file again");
        }
        return Optional.empty();
    }
}
