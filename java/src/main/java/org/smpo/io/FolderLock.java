package org.smpo.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.Consumer;

/// An exclusive lock on a folder: at most one process holds it at a time. The operating system releases it
/// when the process ends, however that happens; the empty file `.lock` stays.
public final class FolderLock implements AutoCloseable {
    private final FileChannel channel;

    private FolderLock(FileChannel channel) {
        this.channel = channel;
    }

    /// Locks a file; replaced in tests of file systems without locks.
    interface Locker {
        FileLock tryLock(FileChannel channel) throws IOException;
    }

    /// Creates a folder if necessary and locks it.
    ///
    /// @param purpose what the folder is for, as in "the run", for messages
    /// @param warnings told when the file system has no locks; the folder is then used without one
    /// @throws IOException when the folder cannot be created, or another process holds its lock
    public static FolderLock acquire(Path folder, String purpose, Consumer<String> warnings) throws IOException {
        return acquire(folder, purpose, warnings, FileChannel::tryLock);
    }

    static FolderLock acquire(Path folder, String purpose, Consumer<String> warnings, Locker locker)
            throws IOException {
        try {
            Files.createDirectories(folder);
        } catch (FileAlreadyExistsException e) {
            throw new IOException(
                    folder + ": expected a folder for " + purpose + ", found a file; choose another folder", e);
        }
        FileChannel channel =
                FileChannel.open(folder.resolve(".lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        if (!lock(channel, folder, warnings, locker)) {
            channel.close();
            throw new IOException(folder + ": expected a folder that no other process uses, found one in use for "
                    + purpose + "; wait until that process ends, or choose another folder");
        }
        return new FolderLock(channel);
    }

    /// Locks an open file until its channel is closed.
    ///
    /// @param shown path in the warning
    /// @return false when another process, or this one, holds the lock
    static boolean lock(FileChannel channel, Path shown, Consumer<String> warnings, Locker locker) {
        try {
            return locker.tryLock(channel) != null;
        } catch (OverlappingFileLockException e) {
            return false;
        } catch (IOException e) {
            warnings.accept(shown + ": cannot be locked (" + e.getMessage()
                    + "); make sure that no other process writes there");
            return true;
        }
    }

    /// Releases the lock.
    @Override
    public void close() throws IOException {
        channel.close();
    }
}
