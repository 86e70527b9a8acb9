package org.smpo.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Writes files and folders that exist completely or not at all, whenever the process or the machine stops.
///
/// A file is written beside its target under another name, fsynced and renamed onto the target, and the
/// folder is fsynced:
/// the target holds the old bytes or the new ones. A folder is written the same way. Because no rename
/// replaces a folder
/// that is not empty, an old folder is first renamed and deleted last. If the process stops between those
/// two renames, the target is absent until [#recover] restores the old folder.
///
/// Files that a dead process leaves behind have names like
/// `.weights.safetensors.4711-17636-0-1f0c9a3e.smpo-partial` (or `.smpo-replaced`; see [WriterProcess]).
/// They are removed by [#recover], and when a process writes to their folder for the first time. If the
/// target is a symbolic link, the link is replaced.
public final class AtomicFiles {
    private static final Pattern LEFTOVER = Pattern.compile("\\.(?<target>.+)\\.(?<pid>\\d+)-(?<start>\\d+)-\\d+"
            + "(-(?<place>[0-9a-f]{8}))?\\.smpo-(?<kind>partial|replaced)");

    /// Folders in which this process has looked for what a dead process left behind.
    private static final Set<Path> RECOVERED = ConcurrentHashMap.newKeySet();

    private AtomicFiles() {}

    /// Content of a file.
    @FunctionalInterface
    public interface Content {
        /// Writes all of it; `out` takes every buffer whole.
        void writeTo(WritableByteChannel out) throws IOException;
    }

    /// Content of a folder.
    @FunctionalInterface
    public interface DirectoryContent {
        /// Writes files and folders into `directory`, which exists and is empty.
        void writeInto(Path directory) throws IOException;
    }

    /// Creates a file with a unique name.
    @FunctionalInterface
    public interface FileContent {
        /// Creates the file `partial`, which does not exist yet.
        void writeTo(Path partial) throws IOException;
    }

    /// Opens a partial file; replaced in tests of a full disk.
    interface Opener {
        FileChannel open(Path partial) throws IOException;
    }

    /// Syncs a folder; replaced in tests of file systems that cannot.
    interface FolderSync {
        void force(Path folder) throws IOException;
    }

    /// Errors of system calls where a folder cannot be synced: EINVAL, EBADF, EOPNOTSUPP and ENOSYS.
    private static final Set<String> UNSUPPORTED =
            Set.of("Invalid argument", "Bad file descriptor", "Operation not supported", "Function not implemented");

    static final Opener CREATE =
            partial -> FileChannel.open(partial, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);

    /// A file being written. [#commit] puts it in the place of its target; closing it before that deletes it.
    public static final class Pending implements AutoCloseable {
        /// Size of a piece. The JDK copies a heap buffer to native memory of the same size and caches the
        /// copy.
        private static final int PIECE = 1 << 22;

        private final Path target;
        private final Path partial;
        private final FileChannel channel;
        private long written;
        private boolean committed;

        private Pending(Path target, Opener opener) throws IOException {
            this.target = target.toAbsolutePath();
            this.partial = beside(this.target, "partial");
            try {
                this.channel = opener.open(partial);
            } catch (IOException e) {
                throw failed(e);
            }
        }

        /// Appends the buffer's remaining bytes.
        ///
        /// @throws IOException when they cannot be written, naming the target and the space left on its disk
        public void write(ByteBuffer bytes) throws IOException {
            try {
                while (bytes.hasRemaining()) {
                    ByteBuffer piece = bytes.slice(bytes.position(), Math.min(PIECE, bytes.remaining()));
                    int count = channel.write(piece);
                    bytes.position(bytes.position() + count);
                    written += count;
                }
            } catch (IOException e) {
                throw failed(e);
            }
        }

        /// This file as a channel whose writes are complete. Closing the channel does nothing.
        public WritableByteChannel channel() {
            return new WritableByteChannel() {
                @Override
                public int write(ByteBuffer bytes) throws IOException {
                    int count = bytes.remaining();
                    Pending.this.write(bytes);
                    return count;
                }

                @Override
                public boolean isOpen() {
                    return channel.isOpen();
                }

                @Override
                public void close() {}
            };
        }

        /// Makes all bytes durable and puts the file in the place of its target.
        ///
        /// @throws IOException when that fails; the target is then as it was
        public void commit() throws IOException {
            try {
                channel.force(true);
                channel.close();
                Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            } catch (IOException e) {
                throw failed(e);
            }
            committed = true;
            forceFolder(parent(target));
        }

        @Override
        public void close() throws IOException {
            channel.close();
            if (!committed) {
                Files.deleteIfExists(partial);
            }
        }

        private IOException failed(IOException cause) {
            return AtomicFiles.failed(target, " after " + written + " bytes", cause);
        }
    }

    /// Starts a file that replaces `target` when it is committed.
    ///
    /// @throws IOException when no file can be created beside the target
    public static Pending begin(Path target) throws IOException {
        return new Pending(target, CREATE);
    }

    static Pending begin(Path target, Opener opener) throws IOException {
        return new Pending(target, opener);
    }

    /// Replaces or creates a file.
    ///
    /// @throws IOException when it cannot be written; the target is then as it was
    public static void write(Path target, Content content) throws IOException {
        try (Pending pending = begin(target)) {
            content.writeTo(pending.channel());
            pending.commit();
        }
    }

    public static void write(Path target, byte[] bytes) throws IOException {
        write(target, out -> out.write(ByteBuffer.wrap(bytes)));
    }

    /// Writes text as UTF-8.
    public static void write(Path target, String text) throws IOException {
        write(target, text.getBytes(StandardCharsets.UTF_8));
    }

    /// Replaces or creates a file with the help of a library that writes to a path.
    ///
    /// @throws IOException when the file cannot be written; the target is then as it was
    public static void writeFile(Path target, FileContent content) throws IOException {
        Path absolute = target.toAbsolutePath();
        Path partial = beside(absolute, "partial");
        try {
            content.writeTo(partial);
            force(partial);
            Files.move(partial, absolute, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            throw failed(absolute, "", e);
        } finally {
            Files.deleteIfExists(partial);
        }
        forceFolder(parent(absolute));
    }

    private static IOException failed(Path target, String progress, IOException cause) {
        String old =
                Files.exists(target, LinkOption.NOFOLLOW_LINKS) ? "the old file is untouched" : "no file was created";
        return new IOException(
                target + ": not written" + progress + ": " + cause.getMessage() + " (" + space(target) + "); " + old,
                cause);
    }

    /// Replaces or creates a folder with everything in it.
    ///
    /// @throws IOException when it cannot be written; the target is then as it was
    public static void writeDirectory(Path target, DirectoryContent content) throws IOException {
        Path absolute = target.toAbsolutePath();
        Path partial = beside(absolute, "partial");
        Files.createDirectory(partial);
        try {
            content.writeInto(partial);
            forceTree(partial);
            replaceDirectory(partial, absolute);
        } finally {
            deleteTree(partial);
        }
    }

    private static void replaceDirectory(Path partial, Path target) throws IOException {
        if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
            forceFolder(parent(target));
            return;
        }
        if (!Files.isDirectory(target, LinkOption.NOFOLLOW_LINKS)) {
            throw new IOException(target + ": expected a folder or nothing to replace, found a file");
        }
        Path aside = beside(target, "replaced");
        Files.move(target, aside, StandardCopyOption.ATOMIC_MOVE);
        try {
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            Files.move(aside, target, StandardCopyOption.ATOMIC_MOVE);
            throw e;
        }
        // The old bytes are deleted only when the new name is durable.
        forceFolder(parent(target));
        deleteTree(aside);
    }

    /// Cleans up after a process that died while writing to a folder: restores a replaced folder whose
    /// successor was never renamed, and deletes partial files and folders. Files of a living process
    /// stay, and those of another container or machine that changed within an hour.
    ///
    /// @return paths that were restored or deleted
    /// @throws IOException when the folder cannot be read or changed
    public static List<Path> recover(Path directory) throws IOException {
        List<Path> done = new ArrayList<>();
        for (Path leftover : leftovers(directory)) {
            Matcher name = LEFTOVER.matcher(leftover.getFileName().toString());
            if (!name.matches() || WriterProcess.isAlive(leftover, name)) {
                continue;
            }
            Path target = leftover.resolveSibling(name.group("target"));
            boolean restore = name.group("kind").equals("replaced") && !Files.exists(target, LinkOption.NOFOLLOW_LINKS);
            if (restore) {
                Files.move(leftover, target, StandardCopyOption.ATOMIC_MOVE);
                done.add(target);
            } else {
                deleteTree(leftover);
                done.add(leftover);
            }
        }
        if (!done.isEmpty()) {
            forceFolder(directory);
        }
        return done;
    }

    /// The partial and replaced files and folders in a folder, of any process, sorted by name.
    public static List<Path> leftovers(Path directory) throws IOException {
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
            for (Path entry : entries) {
                if (LEFTOVER.matcher(entry.getFileName().toString()).matches()) {
                    found.add(entry);
                }
            }
        }
        found.sort(null);
        return found;
    }

    private static Path beside(Path target, String kind) {
        recoverOnce(parent(target));
        return target.resolveSibling("." + target.getFileName() + "." + WriterProcess.unique() + ".smpo-" + kind);
    }

    /// Removes what an earlier attempt left behind, so that no verb needs to do it. A folder that cannot
    /// be read or changed makes the writing itself fail, with a better message.
    private static void recoverOnce(Path folder) {
        if (RECOVERED.add(folder)) {
            try {
                recover(folder);
            } catch (IOException e) {
                RECOVERED.remove(folder);
            }
        }
    }

    private static Path parent(Path absolute) {
        return absolute.getParent();
    }

    private static String space(Path target) {
        try {
            return Files.getFileStore(parent(target)).getUsableSpace() + " bytes free on its disk";
        } catch (IOException e) {
            return "free space unknown";
        }
    }

    /// Makes a file's bytes durable.
    private static void force(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    private static void forceFolder(Path folder) throws IOException {
        forceFolder(folder, AtomicFiles::force);
    }

    /// Makes the names in a folder durable, where the file system can: some cannot open or sync a folder,
    /// and the names are in place all the same. A disk that fails is an error.
    static void forceFolder(Path folder, FolderSync sync) throws IOException {
        try {
            sync.force(folder);
        } catch (AccessDeniedException e) {
            return;
        } catch (IOException e) {
            if (!UNSUPPORTED.contains(e.getMessage())) {
                throw new IOException(folder + ": its entries are not durable: " + e.getMessage(), e);
            }
        }
    }

    private static void forceTree(Path root) throws IOException {
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                if (attributes.isRegularFile()) {
                    force(file);
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
                if (failure != null) {
                    throw failure;
                }
                forceFolder(directory);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    /// Deletes a file or a folder with everything in it, if it exists; symbolic links are deleted, not
    /// followed.
    public static void deleteTree(Path root) throws IOException {
        try {
            Files.walkFileTree(root, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    Files.delete(file);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
                    if (failure != null) {
                        throw failure;
                    }
                    Files.delete(directory);
                    return FileVisitResult.CONTINUE;
                }
            });
        } catch (NoSuchFileException e) {
            // Already gone: renamed into place, or another process cleaned up.
            return;
        }
    }
}
