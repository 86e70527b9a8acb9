package org.smpo.io;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.function.Predicate;

/// Files that libraries unpack for one process, and that a process leaves behind when it is killed while
/// it unpacks.
///
/// A file is abandoned when no process of this user has it open and it has not changed for [#SETTLED]; a
/// folder, and a file where open files cannot be looked up, after [#UNPACKING].
public final class UnpackedFiles {
    /// Time after which nobody unpacks a file any more.
    static final Duration UNPACKING = Duration.ofMinutes(10);

    /// Time for which a file must not have changed, because its writer closes it before it loads it.
    static final Duration SETTLED = Duration.ofSeconds(10);

    private static final Path PROCESSES = Path.of("/proc");

    private UnpackedFiles() {}

    /// Deletes the abandoned files and folders in a folder. What cannot be deleted stays, such as files
    /// of other users.
    ///
    /// @param glob pattern of their names
    public static void deleteAbandoned(Path folder, String glob) {
        delete(folder, glob, UnpackedFiles::isAbandoned);
    }

    /// Deletes files and folders that changed after an instant.
    static void deleteNewer(Path folder, String glob, Instant start) {
        delete(folder, glob, file -> changed(file).isAfter(start));
    }

    private static void delete(Path folder, String glob, Predicate<Path> which) {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, glob)) {
            for (Path file : files) {
                if (which.test(file)) {
                    AtomicFiles.deleteTree(file);
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
                || (age.compareTo(SETTLED) > 0
                        && Files.isRegularFile(file)
                        && Files.isDirectory(PROCESSES)
                        && !isOpen(file));
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
}
