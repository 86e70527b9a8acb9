package org.smpo.io;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.function.Predicate;

/// DuckDB's native library of 70 MB, which its driver unpacks into the temporary folder for every
/// process and deletes only when the virtual machine ends by itself, not after Ctrl-C or a kill.
///
/// Once the library is loaded, its file is not needed, so it is deleted at once. A process that is
/// killed while it unpacks leaves the file. The next process deletes it when no process has had it open
/// for [#SETTLED], or, where open files cannot be looked up, after [#UNPACKING].
final class DuckDbLibrary {
    /// Name that the driver gives the file; the rest is random.
    private static final String FILES = "libduckdb_java*.so";

    /// Time after which nobody unpacks a file any more.
    static final Duration UNPACKING = Duration.ofMinutes(10);

    /// Time for which a file must not have changed, because its writer closes it before it loads it.
    static final Duration SETTLED = Duration.ofSeconds(10);

    private static final Path PROCESSES = Path.of("/proc");

    private static final Path MAPPED = Path.of("/proc/self/maps");

    private static boolean loaded;

    private DuckDbLibrary() {}

    /// Opens a connection.
    @FunctionalInterface
    interface Connector {
        Connection connect() throws SQLException;
    }

    /// Opens a connection, which loads the library if it is not.
    ///
    /// @throws IOException when the library cannot be unpacked or loaded, with the folder and what to do
    static synchronized Connection using(Connector connector) throws SQLException, IOException {
        if (loaded) {
            return connector.connect();
        }
        Path folder = folder();
        Instant start = Instant.now().minusSeconds(1);
        delete(folder, DuckDbLibrary::isAbandoned);
        try {
            Connection connection = connector.connect();
            loaded = true;
            deleteLoaded(folder);
            return connection;
        } catch (LinkageError e) {
            delete(folder, file -> changed(file).isAfter(start));
            throw new IOException(
                    folder + ": expected room for DuckDB's library (70 MB) and permission to run it, found "
                            + room(folder) + " and: " + reason(e)
                            + "; free space, or choose another folder with "
                            + "SMPO_JAVA_OPTIONS=-Djava.io.tmpdir=FOLDER",
                    e);
        }
    }

    private static String room(Path folder) {
        try {
            return Files.getFileStore(folder).getUsableSpace() + " bytes free";
        } catch (IOException e) {
            return "no such folder";
        }
    }

    /// The temporary folder of this virtual machine.
    static Path folder() {
        return Path.of(System.getProperty("java.io.tmpdir"));
    }

    private static String reason(Throwable e) {
        Throwable first = e;
        while (first.getCause() != null) {
            first = first.getCause();
        }
        return first.getMessage() == null ? first.toString() : first.getMessage();
    }

    /// Deletes the file of the library that is loaded. Linux alone tells which one it is; elsewhere it
    /// stays until the virtual machine ends.
    private static void deleteLoaded(Path folder) {
        try {
            String prefix = folder.toRealPath() + "/libduckdb_java";
            for (String line : Files.readAllLines(MAPPED)) {
                int path = line.indexOf('/');
                if (path >= 0 && line.startsWith(prefix, path)) {
                    Files.deleteIfExists(Path.of(line.substring(path)));
                }
            }
        } catch (IOException e) {
            return;
        }
    }

    private static Instant changed(Path file) {
        try {
            return Files.getLastModifiedTime(file).toInstant();
        } catch (IOException e) {
            return Instant.MAX; // gone meanwhile
        }
    }

    private static boolean isAbandoned(Path file) {
        Duration age = Duration.between(changed(file), Instant.now());
        return age.compareTo(UNPACKING) > 0
                || (age.compareTo(SETTLED) > 0 && Files.isReadable(MAPPED) && !isOpen(file));
    }

    /// Whether a process of this user has a file open.
    private static boolean isOpen(Path file) {
        try (DirectoryStream<Path> processes = Files.newDirectoryStream(PROCESSES, "[0-9]*")) {
            for (Path process : processes) {
                if (isOpenIn(process.resolve("fd"), file)) {
                    return true;
                }
            }
            return false;
        } catch (IOException e) {
            return true;
        }
    }

    private static boolean isOpenIn(Path descriptors, Path file) {
        try (DirectoryStream<Path> open = Files.newDirectoryStream(descriptors)) {
            for (Path descriptor : open) {
                if (Files.readSymbolicLink(descriptor).equals(file.toAbsolutePath())) {
                    return true;
                }
            }
            return false;
        } catch (IOException e) {
            // The process ended, or is another user's, whose files cannot be deleted anyway.
            return false;
        }
    }

    /// Deletes some files of the library.
    private static void delete(Path folder, Predicate<Path> which) {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, FILES)) {
            for (Path file : files) {
                if (which.test(file)) {
                    Files.deleteIfExists(file);
                }
            }
        } catch (IOException e) {
            // Files of other users stay theirs.
            return;
        }
    }
}
