package org.smpo.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;

/// A process that replaces a file or a folder over and over until it is killed. Version n of the file is n
/// written 100,000 times; version n of the folder is two such files. Prints each version once it is committed.
final class AtomicFilesChild {
    static final int COUNT = 100_000;

    private AtomicFilesChild() {}

    public static void main(String[] args) throws IOException {
        Path target = Path.of(args[1]);
        for (int version = 1; ; version++) {
            byte[] bytes = content(version);
            if (args[0].equals("in place")) {
                // Writes in place, which AtomicFiles avoids; shows that the test detects torn files.
                try (FileChannel out = FileChannel.open(
                        target,
                        StandardOpenOption.CREATE,
                        StandardOpenOption.WRITE,
                        StandardOpenOption.TRUNCATE_EXISTING)) {
                    for (int from = 0; from < bytes.length; from += bytes.length / 1000) {
                        out.write(ByteBuffer.wrap(bytes, from, bytes.length / 1000));
                    }
                }
            } else if (args[0].equals("file")) {
                AtomicFiles.write(target, out -> {
                    // Writes in several pieces, so that a kill can fall between them.
                    for (int from = 0; from < bytes.length; from += bytes.length / 10) {
                        out.write(ByteBuffer.wrap(bytes, from, bytes.length / 10));
                    }
                });
            } else {
                AtomicFiles.writeDirectory(target, directory -> {
                    Files.write(directory.resolve("weights"), bytes);
                    Files.createDirectory(directory.resolve("optimizer"));
                    Files.write(directory.resolve("optimizer").resolve("state"), bytes);
                });
            }
            System.out.println(version);
            System.out.flush();
        }
    }

    private static byte[] content(int version) {
        ByteBuffer buffer = ByteBuffer.allocate(4 * COUNT);
        for (int i = 0; i < COUNT; i++) {
            buffer.putInt(version);
        }
        return buffer.array();
    }

    /// Returns the version that a file holds.
    ///
    /// @throws AssertionError when it mixes versions
    static int version(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        int version = bytes.length < 4 ? -1 : ByteBuffer.wrap(bytes).getInt();
        if (!Arrays.equals(bytes, content(version))) {
            throw new AssertionError(
                    file + " holds no whole version: " + bytes.length + " bytes beginning with " + version);
        }
        return version;
    }
}
