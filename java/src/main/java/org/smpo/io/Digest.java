package org.smpo.io;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/// Computes SHA-256 incrementally, or at once for bytes, files and memory segments of any size.
public final class Digest {
    private static final int CHUNK = 1 << 20;

    private final MessageDigest sha256;

    public Digest() {
        try {
            sha256 = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every JDK has SHA-256", e);
        }
    }

    /// Adds the buffer's remaining bytes and consumes them.
    public Digest update(ByteBuffer bytes) {
        sha256.update(bytes);
        return this;
    }

    /// Adds a segment's bytes.
    public Digest update(MemorySegment bytes) {
        // In chunks: a buffer over a segment ends at 2 GiB, and MessageDigest copies a direct one through a small
        // array.
        for (long from = 0; from < bytes.byteSize(); from += CHUNK) {
            long length = Math.min(CHUNK, bytes.byteSize() - from);
            sha256.update(bytes.asSlice(from, length).asByteBuffer());
        }
        return this;
    }

    /// Returns the digest as 64 lower-case hexadecimal digits and resets it.
    public String hex() {
        return HexFormat.of().formatHex(sha256.digest());
    }

    /// SHA-256 of every file in a folder, by its name; folders in it are left out.
    ///
    /// @throws IOException when a file cannot be read
    public static SortedMap<String, String> ofFiles(Path folder) throws IOException {
        SortedMap<String, String> digests = new TreeMap<>();
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                digests.put(file.getFileName().toString(), sha256(file));
            }
        }
        return digests;
    }

    /// SHA-256 of digests with the names of their files.
    public static String ofNamed(Map<String, String> digests) {
        StringBuilder lines = new StringBuilder();
        digests.forEach(
                (name, sha256) -> lines.append(name).append(' ').append(sha256).append('\n'));
        return sha256(lines.toString().getBytes(StandardCharsets.UTF_8));
    }

    public static String sha256(byte[] bytes) {
        return new Digest().update(ByteBuffer.wrap(bytes)).hex();
    }

    public static String sha256(MemorySegment bytes) {
        return new Digest().update(bytes).hex();
    }

    /// SHA-256 of a file, read as a stream, so that it may have any size.
    ///
    /// @throws IOException when it cannot be read
    public static String sha256(Path file) throws IOException {
        Digest digest = new Digest();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer buffer = ByteBuffer.allocate(CHUNK);
            while (channel.read(buffer) >= 0) {
                digest.update(buffer.flip());
                buffer.clear();
            }
        }
        return digest.hex();
    }
}
