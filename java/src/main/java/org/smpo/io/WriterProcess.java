package org.smpo.io;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;

/// Tells whether the process that wrote a temporary file still runs, from what the file's name says: the
/// process id, the start of the process, and the place where this id counts, which is a running system
/// and its namespace of process ids.
///
/// A process of another place, such as another container or machine that shares the folder, cannot be
/// looked up. Its files count as left behind when nothing in them has changed for an hour.
final class WriterProcess {
    static final Duration FOREIGN_AGE = Duration.ofHours(1);

    /// Two processes may see different start times of a process when the clock was adjusted in between.
    private static final long START_TOLERANCE_MILLIS = 5_000;

    private static final int PLACE_DIGITS = 8;
    private static final int START_FIELD = 20;

    /// The place where this process runs.
    private static final String PLACE = findPlace();

    private static final String SELF = describe(ProcessHandle.current());
    private static final AtomicLong SEQUENCE = new AtomicLong();

    private WriterProcess() {}

    /// A part of a file name that no other file of this or another process has:
    /// `PID-START-NUMBER-PLACE`.
    static String unique() {
        return SELF + "-" + SEQUENCE.getAndIncrement() + "-" + PLACE;
    }

    /// Whether the process that wrote a file still runs, or may run.
    ///
    /// @param name match of the file's name, with the groups `pid`, `start` and `place`; no place in
    ///     names of earlier versions
    static boolean isAlive(Path file, Matcher name) throws IOException {
        String place = name.group("place");
        if (place != null && !place.equals(PLACE)) {
            return newest(file).isAfter(Instant.now().minus(FOREIGN_AGE));
        }
        try {
            long pid = Long.parseLong(name.group("pid"));
            long start = Long.parseLong(name.group("start"));
            return ProcessHandle.of(pid)
                    .filter(ProcessHandle::isAlive)
                    .filter(process -> place == null
                            ? Math.abs(startMillis(process) - start) <= START_TOLERANCE_MILLIS
                            : describe(process).equals(pid + "-" + start))
                    .isPresent();
        } catch (NumberFormatException e) {
            return false; // beyond 2^63: no process of ours wrote that
        }
    }

    private static String describe(ProcessHandle process) {
        return process.pid() + "-" + start(process);
    }

    /// When a process started: on Linux in ticks since the system started, which no change of the clock
    /// moves.
    private static long start(ProcessHandle process) {
        try {
            String status = Files.readString(Path.of("/proc", Long.toString(process.pid()), "stat"));
            // The name of the program, in parentheses, may have spaces.
            List<String> fields =
                    List.of(status.substring(status.lastIndexOf(')') + 1).split(" ", -1));
            return Long.parseLong(fields.get(START_FIELD));
        } catch (IOException | RuntimeException e) {
            return startMillis(process);
        }
    }

    private static long startMillis(ProcessHandle process) {
        return process.info().startInstant().map(Instant::toEpochMilli).orElse(0L);
    }

    private static String findPlace() {
        String name;
        try {
            name = Files.readString(Path.of("/proc/sys/kernel/random/boot_id"))
                    + Files.readSymbolicLink(Path.of("/proc/self/ns/pid"));
        } catch (IOException | RuntimeException e) {
            // No Linux: the name of the machine.
            name = String.valueOf(System.getenv("HOSTNAME"));
        }
        return Digest.sha256(name.getBytes(StandardCharsets.UTF_8)).substring(0, PLACE_DIGITS);
    }

    /// The latest time at which a file, or anything in a folder, changed.
    private static Instant newest(Path root) throws IOException {
        Instant[] newest = {Instant.EPOCH};
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                Instant changed = attributes.lastModifiedTime().toInstant();
                newest[0] = changed.isAfter(newest[0]) ? changed : newest[0];
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult preVisitDirectory(Path directory, BasicFileAttributes attributes) {
                return visitFile(directory, attributes);
            }

            @Override
            public FileVisitResult visitFileFailed(Path file, IOException failure) {
                return FileVisitResult.CONTINUE; // gone meanwhile
            }
        });
        return newest[0];
    }
}
