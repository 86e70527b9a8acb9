package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What DuckDB's driver leaves in the temporary folder. The child processes have folders of their own.
final class DuckDbLibraryTest {
    @TempDir
    private Path temporary;

    /// Opens a reader and then ends without running anything that Java does at the end.
    static final class Child {
        private Child() {}

        public static void main(String[] arguments) throws IOException {
            try (ParquetReader reader = ParquetReader.open()) {
                System.out.println("opened " + reader.hashCode());
            } catch (IOException e) {
                System.out.println("refused " + e.getMessage());
            }
            Runtime.getRuntime().halt(0);
        }
    }

    private String child(Path folder) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:TieredStopAtLevel=1",
                        "-Djava.io.tmpdir=" + folder,
                        "-cp",
                        System.getProperty("java.class.path"),
                        Child.class.getName())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        process.waitFor();
        return output;
    }

    private static List<String> files(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void nothingStaysWhenAProcessIsEndedAtOnce() throws IOException, InterruptedException {
        Path old = Files.writeString(temporary.resolve("libduckdb_java1.so"), "half");
        Files.setLastModifiedTime(
                old, FileTime.from(Instant.now().minus(UnpackedFiles.UNPACKING).minusSeconds(60)));
        Files.writeString(temporary.resolve("libduckdb_java2.so"), "just unpacked by another process");
        FileTime settled =
                FileTime.from(Instant.now().minus(UnpackedFiles.SETTLED).minusSeconds(1));
        Path killed = Files.writeString(temporary.resolve("libduckdb_java3.so"), "its writer is gone");
        Files.setLastModifiedTime(killed, settled);
        Path open = Files.writeString(temporary.resolve("libduckdb_java4.so"), "its writer is slow");
        try (OutputStream out = Files.newOutputStream(open)) {
            out.write(0);
            Files.setLastModifiedTime(open, settled);
            assertThat(child(temporary)).contains("opened");
        }
        assertThat(files(temporary)).containsExactly("libduckdb_java2.so", "libduckdb_java4.so");
    }

    @Test
    void aFolderWithoutRoomIsNamed() throws IOException, InterruptedException {
        assertThat(child(temporary.resolve("missing")))
                .contains(
                        "refused " + temporary.resolve("missing") + ": expected room for DuckDB's library",
                        "-Djava.io.tmpdir=FOLDER");
    }

    /// DJL unpacks into a folder that it renames.
    @Test
    void foldersAreAbandonedLater() throws IOException {
        Path young = Files.createDirectory(temporary.resolve("tmp1"));
        Path old = Files.createDirectory(temporary.resolve("tmp2"));
        Files.writeString(old.resolve("libtokenizers.so"), "half");
        Files.setLastModifiedTime(
                young, FileTime.from(Instant.now().minus(UnpackedFiles.SETTLED).minusSeconds(1)));
        Files.setLastModifiedTime(
                old, FileTime.from(Instant.now().minus(UnpackedFiles.UNPACKING).minusSeconds(1)));
        UnpackedFiles.deleteAbandoned(temporary, "tmp*");
        assertThat(files(temporary)).containsExactly("tmp1");
        UnpackedFiles.deleteAbandoned(temporary.resolve("missing"), "tmp*");
    }
}
