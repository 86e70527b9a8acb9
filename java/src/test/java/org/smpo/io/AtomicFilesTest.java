package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class AtomicFilesTest {
    @TempDir
    Path folder;

    @TempDir
    Path reports;

    @Test
    void writesAndReplaces() throws IOException {
        Path target = folder.resolve("a.txt");
        AtomicFiles.write(target, "one");
        assertThat(target).hasContent("one");
        AtomicFiles.write(target, "two");
        assertThat(target).hasContent("two");
        byte[] large = new byte[10_000_000];
        new SplittableRandom(1).nextBytes(large);
        AtomicFiles.write(target, large);
        assertThat(Files.readAllBytes(target)).isEqualTo(large);
        assertThat(AtomicFiles.leftovers(folder)).isEmpty();
        assertThat(folder).isDirectoryNotContaining(path -> !path.equals(target));
    }

    @Test
    void nothingIsVisibleBeforeTheCommit() throws IOException {
        Path target = folder.resolve("a.txt");
        try (AtomicFiles.Pending pending = AtomicFiles.begin(target)) {
            pending.write(ByteBuffer.wrap(new byte[10]));
            assertThat(target).doesNotExist();
            assertThat(AtomicFiles.leftovers(folder)).hasSize(1);
            assertThat(AtomicFiles.recover(folder)).as("this process is alive").isEmpty();
        }
        assertThat(target).doesNotExist();
        assertThat(AtomicFiles.leftovers(folder)).isEmpty();
    }

    @Test
    void aFailureOfTheContentPassesThrough() throws IOException {
        Path target = Files.writeString(folder.resolve("a.txt"), "old");
        assertThatThrownBy(() -> AtomicFiles.write(target, out -> {
                    out.write(ByteBuffer.wrap(new byte[10]));
                    throw new IOException("the source went away");
                }))
                .hasMessage("the source went away");
        assertThat(target).hasContent("old");
        assertThat(AtomicFiles.leftovers(folder)).isEmpty();
    }

    @Test
    void replacesFoldersWithAllInThem() throws IOException {
        Path target = folder.resolve("step-1");
        AtomicFiles.writeDirectory(target, directory -> {
            Files.createDirectories(directory.resolve("a/b"));
            Files.writeString(directory.resolve("a/b/c"), "1");
            Files.writeString(directory.resolve("old"), "1");
        });
        AtomicFiles.writeDirectory(target, directory -> Files.writeString(directory.resolve("new"), "2"));
        assertThat(target).isDirectoryContaining("glob:**/new").isDirectoryNotContaining("glob:**/old");
        assertThatThrownBy(() -> AtomicFiles.writeDirectory(target, directory -> {
                    Files.writeString(directory.resolve("half"), "3");
                    throw new IOException("the source went away");
                }))
                .hasMessage("the source went away");
        assertThat(target.resolve("new")).hasContent("2");
        assertThat(folder).isDirectoryNotContaining(path -> !path.equals(target));

        Path file = Files.writeString(folder.resolve("file"), "x");
        assertThatThrownBy(() -> AtomicFiles.writeDirectory(file, directory -> {}))
                .hasMessageContaining("expected a folder or nothing to replace");
        assertThat(file).hasContent("x");
        assertThat(AtomicFiles.leftovers(folder)).isEmpty();
    }

    @Test
    void recoversWhatADeadProcessLeft() throws IOException {
        // Process ids are below 2^22, so no process has this one.
        String dead = ".99999999-1700000000000-0.smpo-";
        Files.writeString(folder.resolve(".weights" + dead + "partial"), "half");
        Files.createDirectories(folder.resolve(".step-3" + dead + "partial/optimizer"));
        Files.createDirectory(folder.resolve(".step-2" + dead + "replaced"));
        Files.writeString(folder.resolve(".step-2" + dead + "replaced/weights"), "old");
        Files.createDirectory(folder.resolve(".step-1" + dead + "replaced"));
        Files.createDirectory(folder.resolve("step-1"));
        Files.writeString(folder.resolve(".hidden"), "mine");
        // The id of a living process, but with another start time.
        Files.writeString(folder.resolve(".x." + ProcessHandle.current().pid() + "-5-0.smpo-partial"), "half");

        assertThat(AtomicFiles.leftovers(folder)).hasSize(5);
        List<Path> done = AtomicFiles.recover(folder);
        assertThat(done).hasSize(5).contains(folder.resolve("step-2"));
        assertThat(folder.resolve("step-2/weights")).hasContent("old");
        try (var left = Files.list(folder)) {
            assertThat(left)
                    .extracting(path -> path.getFileName().toString())
                    .containsExactlyInAnyOrder("step-1", "step-2", ".hidden");
        }
        assertThat(AtomicFiles.recover(folder)).isEmpty();
    }

    /// A container that shares the folder has other process ids, and a clock that was set has other
    /// times.
    @Test
    void filesOfAnotherContainerStayForAnHour() throws IOException {
        Path young = Files.writeString(folder.resolve(".a.99999999-1-0-00000000.smpo-partial"), "half");
        Path old = Files.createDirectory(folder.resolve(".b.99999999-1-0-00000000.smpo-partial"));
        Path part = Files.writeString(old.resolve("part"), "half");
        FileTime twoHoursAgo = FileTime.from(Instant.now().minus(Duration.ofHours(2)));
        Files.setLastModifiedTime(old, twoHoursAgo);
        assertThat(AtomicFiles.recover(folder)).as("written a moment ago").isEmpty();
        Files.setLastModifiedTime(part, twoHoursAgo);
        assertThat(AtomicFiles.recover(folder)).containsExactly(old);
        assertThat(young).exists();
    }

    @Test
    void ownFilesHaveAPlaceAndAStartThatNoClockMoves() throws IOException {
        try (AtomicFiles.Pending pending = AtomicFiles.begin(folder.resolve("a"))) {
            pending.write(ByteBuffer.wrap(new byte[10]));
            Path partial = AtomicFiles.leftovers(folder).getFirst();
            assertThat(partial.getFileName().toString()).matches("\\.a\\.\\d+-\\d+-\\d+-[0-9a-f]{8}\\.smpo-partial");
            // The same process, had it started a moment earlier, is another one.
            String name = partial.getFileName().toString();
            Path other = Files.createFile(folder.resolve(name.replaceFirst("-\\d+-", "-1-")));
            assertThat(AtomicFiles.recover(folder)).containsExactly(other);
        }
    }

    /// No verb has to clean up by itself: the next process that writes to the folder does.
    @Test
    void theFirstWriteToAFolderRemovesWhatDeadProcessesLeft() throws IOException {
        Path model = Files.createDirectory(folder.resolve(".model.99999999-1700000000000-0.smpo-partial"));
        Files.writeString(model.resolve("weights"), "half");
        AtomicFiles.writeDirectory(
                folder.resolve("other"), directory -> Files.writeString(directory.resolve("a"), "1"));
        assertThat(model).doesNotExist();
    }

    /// Some file systems cannot sync a folder; the commit succeeds nevertheless.
    @Test
    void foldersThatCannotBeSyncedAreNoError() throws IOException {
        for (String answer : List.of("Invalid argument", "Bad file descriptor", "Operation not supported")) {
            AtomicFiles.forceFolder(folder, path -> {
                throw new IOException(answer);
            });
        }
        assertThatThrownBy(() -> AtomicFiles.forceFolder(folder, path -> {
                    throw new IOException("Input/output error");
                }))
                .hasMessage(folder + ": its entries are not durable: Input/output error");
    }

    @Test
    void aFullDeviceLeavesTheOldFile() throws IOException {
        Path target = Files.writeString(folder.resolve("a.txt"), "old");
        assertThatThrownBy(() -> write(target, new byte[100], FullDisk.device()))
                .isInstanceOf(IOException.class)
                .hasMessageStartingWith(target + ": not written after 0 bytes: No space left on device (")
                .hasMessageContaining(" bytes free on its disk")
                .hasMessageEndingWith("; the old file is untouched");
        assertThat(target).hasContent("old");
        Path fresh = folder.resolve("b.txt");
        assertThatThrownBy(() -> write(fresh, new byte[100], FullDisk.device()))
                .hasMessageEndingWith("; no file was created");
        assertThat(AtomicFiles.leftovers(folder)).isEmpty();
    }

    /// The disk is full at any byte, or only when data is synced.
    @Test
    void aDiskThatFillsUpLeavesTheOldFile() throws IOException {
        Path target = Files.writeString(folder.resolve("a.txt"), "old");
        for (int room : new int[] {0, 1, 999, 1000}) {
            assertThatThrownBy(() -> write(target, new byte[1000], FullDisk.after(room)))
                    .isInstanceOf(IOException.class)
                    .hasMessageContaining(target + ": not written after " + room + " bytes: No space left on device");
            assertThat(target).hasContent("old");
            assertThat(AtomicFiles.leftovers(folder)).isEmpty();
        }
        write(target, new byte[1000], FullDisk.after(1001));
        assertThat(target).hasSize(1000);
    }

    private static void write(Path target, byte[] bytes, AtomicFiles.Opener opener) throws IOException {
        try (AtomicFiles.Pending pending = AtomicFiles.begin(target, opener)) {
            pending.write(ByteBuffer.wrap(bytes));
            pending.commit();
        }
    }

    /// A child that writes versions of a file in a loop is killed at random instants: the file is
    /// complete and not older than the last version that the child reported. (A kill loses nothing that
    /// the kernel has buffered. The fsync before the rename protects against a power cut, which this
    /// test cannot cause.)
    @Test
    void aKilledWriterLeavesOldOrNewFile() throws Exception {
        SplittableRandom random = new SplittableRandom(7);
        Path target = folder.resolve("weights");
        for (int round = 0; round < 8; round++) {
            int reported = killAfter("file", target, random.nextInt(5, 120));
            assertThat(AtomicFilesChild.version(target)).isBetween(reported, reported + 1);
            AtomicFiles.recover(folder);
            assertThat(AtomicFiles.leftovers(folder)).isEmpty();
        }
    }

    @Test
    void aKilledWriterLeavesOldOrNewFolder() throws Exception {
        SplittableRandom random = new SplittableRandom(8);
        Path target = folder.resolve("step-1");
        for (int round = 0; round < 8; round++) {
            int reported = killAfter("folder", target, random.nextInt(5, 120));
            AtomicFiles.recover(folder);
            int version = AtomicFilesChild.version(target.resolve("weights"));
            assertThat(version).isBetween(reported, reported + 1);
            assertThat(AtomicFilesChild.version(target.resolve("optimizer").resolve("state")))
                    .isEqualTo(version);
            assertThat(folder).isDirectoryNotContaining(path -> !path.equals(target));
        }
    }

    /// The same kills tear a file that is written in place, which shows that the tests above can fail.
    @Test
    void theKillsTearAFileWrittenInPlace() throws Exception {
        SplittableRandom random = new SplittableRandom(9);
        Path target = folder.resolve("weights");
        boolean torn = false;
        for (int round = 0; round < 40 && !torn; round++) {
            killAfter("in place", target, random.nextInt(5, 60));
            try {
                AtomicFilesChild.version(target);
            } catch (AssertionError e) {
                torn = true;
            }
        }
        assertThat(torn).isTrue();
    }

    /// Starts a child, waits for its first version, lets it run and kills it. Returns the last version
    /// that it reported.
    private int killAfter(String what, Path target, int millis) throws IOException, InterruptedException {
        Path report = reports.resolve("report");
        Files.deleteIfExists(report);
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:TieredStopAtLevel=1",
                        "-XX:+UseSerialGC",
                        "-cp",
                        System.getProperty("java.class.path"),
                        AtomicFilesChild.class.getName(),
                        what,
                        target.toString())
                .redirectOutput(report.toFile())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (lastLine(report) == 0) {
                assertThat(child.isAlive() && System.nanoTime() < deadline)
                        .as("child writes")
                        .isTrue();
                Thread.sleep(1);
            }
            Thread.sleep(millis);
        } finally {
            child.destroyForcibly(); // SIGKILL
        }
        assertThat(child.waitFor(30, TimeUnit.SECONDS)).isTrue();
        return lastLine(report);
    }

    /// Returns the number on the last complete line, or 0.
    private static int lastLine(Path report) throws IOException {
        String text = Files.readString(report);
        int end = text.lastIndexOf('\n');
        return end < 0 ? 0 : Integer.parseInt(text.substring(text.lastIndexOf('\n', end - 1) + 1, end));
    }

    /// Channels of a full disk.
    private static final class FullDisk extends FileChannel {
        private final FileChannel file;
        private int room;

        private FullDisk(FileChannel file, int room) {
            this.file = file;
            this.room = room;
        }

        /// The kernel's device that is always full.
        static AtomicFiles.Opener device() {
            return partial -> FileChannel.open(Path.of("/dev/full"), StandardOpenOption.WRITE);
        }

        /// Accepts `room` bytes, then fails to write and to sync.
        static AtomicFiles.Opener after(int room) {
            return partial -> new FullDisk(AtomicFiles.CREATE.open(partial), room);
        }

        @Override
        public int write(ByteBuffer bytes) throws IOException {
            if (room == 0) {
                throw new IOException("No space left on device");
            }
            int count = Math.min(room, bytes.remaining());
            file.write(bytes.slice(bytes.position(), count));
            bytes.position(bytes.position() + count);
            room -= count;
            return count;
        }

        @Override
        public void force(boolean metadata) throws IOException {
            if (room == 0) {
                throw new IOException("No space left on device");
            }
            file.force(metadata);
        }

        @Override
        protected void implCloseChannel() throws IOException {
            file.close();
        }

        @Override
        public int read(ByteBuffer bytes) {
            throw new UnsupportedOperationException();
        }

        @Override
        public long read(ByteBuffer[] bytes, int offset, int length) {
            throw new UnsupportedOperationException();
        }

        @Override
        public long write(ByteBuffer[] bytes, int offset, int length) {
            throw new UnsupportedOperationException();
        }

        @Override
        public long position() {
            throw new UnsupportedOperationException();
        }

        @Override
        public FileChannel position(long position) {
            throw new UnsupportedOperationException();
        }

        @Override
        public long size() {
            throw new UnsupportedOperationException();
        }

        @Override
        public FileChannel truncate(long size) {
            throw new UnsupportedOperationException();
        }

        @Override
        public long transferTo(long position, long count, WritableByteChannel target) {
            throw new UnsupportedOperationException();
        }

        @Override
        public long transferFrom(ReadableByteChannel source, long position, long count) {
            throw new UnsupportedOperationException();
        }

        @Override
        public int read(ByteBuffer bytes, long position) {
            throw new UnsupportedOperationException();
        }

        @Override
        public int write(ByteBuffer bytes, long position) {
            throw new UnsupportedOperationException();
        }

        @Override
        public MappedByteBuffer map(MapMode mode, long position, long size) {
            throw new UnsupportedOperationException();
        }

        @Override
        public FileLock lock(long position, long size, boolean shared) {
            throw new UnsupportedOperationException();
        }

        @Override
        public FileLock tryLock(long position, long size, boolean shared) {
            throw new UnsupportedOperationException();
        }
    }
}
