package org.smpo.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/// Recognizes files that are not what their names promise: what a failed download or clone leaves behind,
/// and formats that are not read here.
public final class FileContent {
    private static final int START = 512;

    private static final String CONVERT = "; convert it to PNG, JPEG or WebP";

    /// Formats by the text with which their files begin and what to do about them, as ISO 8859-1 in small
    /// letters.
    private static final Map<String, String> FORMATS = Map.ofEntries(
            Map.entry("gif8", "a GIF image" + CONVERT),
            Map.entry("ii*\0", "a TIFF image" + CONVERT),
            Map.entry("mm\0*", "a TIFF image" + CONVERT),
            Map.entry("<svg", "an SVG drawing; convert it to PNG"),
            Map.entry("\0\0\0\fjxl ", "a JPEG XL image" + CONVERT),
            Map.entry("\u00ff\n", "a JPEG XL image" + CONVERT),
            Map.entry("\u001f\u008b", "a gzip file; unpack it first"),
            Map.entry("pk\u0003\u0004", "a ZIP file, such as torch.save or an archiver writes"),
            Map.entry("(\u00b5/\u00fd", "a Zstandard file; unpack it first"),
            Map.entry("7z\u00bc\u00af", "a 7z file; unpack it first"),
            Map.entry("%pdf", "a PDF document"));

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
        return describe(bytes);
    }

    /// Describes content by its first bytes, as [#describe(Path)] does.
    static Optional<String> describe(byte[] bytes) {
        if (bytes.length == 0) {
            return Optional.of("an empty file; download it again");
        }
        String first = new String(bytes, 0, Math.min(bytes.length, START), StandardCharsets.ISO_8859_1)
                .toLowerCase(Locale.ROOT);
        String start = first.strip();
        if (start.startsWith("version https://git-lfs.github.com/spec/")) {
            return Optional.of("a Git LFS pointer, not the file itself; run git lfs pull");
        }
        if (start.startsWith("<!doctype html") || start.startsWith("<html") || start.startsWith("<?xml")) {
            return Optional.of("a web page (HTML), such as an error or a sign-in page; download the file again");
        }
        if (first.startsWith("bm") && first.startsWith("\0\0\0\0", 6)) {
            return Optional.of("a BMP image" + CONVERT);
        }
        if (first.startsWith("ftyp", 4)) {
            boolean heif = first.startsWith("avif", 8) || first.startsWith("hei", 8) || first.startsWith("mif1", 8);
            return Optional.of(heif ? "an AVIF or HEIC image" + CONVERT : "a video; extract its images");
        }
        return FORMATS.entrySet().stream()
                .filter(format -> first.startsWith(format.getKey()))
                .map(Map.Entry::getValue)
                .findFirst();
    }
}
