package org.smpo.io;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.Consumer;

/// A file that grows at its end and can be cut back to an earlier length. A crash can leave an incomplete
/// last record, which the owner of the format recognizes and cuts off. Not for use by several threads.
public final class AppendedFile implements Closeable {
    private final Path path;
    private final FileChannel channel;

    private AppendedFile(Path path, FileChannel channel) {
        this.path = path;
        this.channel = channel;
    }

    /// Creates a file.
    ///
    /// @throws IOException when the file exists or cannot be created
    public static AppendedFile create(Path path) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
        return new AppendedFile(path, channel);
    }

    /// Opens an existing file and cuts it back to its first `length` bytes.
    ///
    /// @throws IOException when the file is shorter than that or cannot be opened
    public static AppendedFile resume(Path path, long length) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE);
        try {
            if (channel.size() < length) {
                throw new IOException(path + ": expected at least the " + length + " bytes that it had at the "
                        + "checkpoint, found " + channel.size() + "; was it edited or taken from another run?");
            }
            AppendedFile file = new AppendedFile(path, channel);
            file.cut(length);
            return file;
        } catch (IOException e) {
            channel.close();
            throw e;
        }
    }

    /// Opens or creates a file and locks it, so that no other process writes to it.
    ///
    /// @param warnings told when the file system has no locks; the file is then used without one
    /// @throws IOException when another process holds the lock or the file cannot be opened
    public static AppendedFile openLocked(Path path, Consumer<String> warnings) throws IOException {
        FileChannel channel =
                FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE);
        if (!FolderLock.lock(channel, path, warnings, FileChannel::tryLock)) {
            channel.close();
            throw new IOException(path + ": expected a file that no other process writes, found one in use; wait until"
                    + " that process ends");
        }
        AppendedFile file = new AppendedFile(path, channel);
        channel.position(channel.size());
        return file;
    }

    /// Length in bytes.
    public long length() throws IOException {
        return channel.size();
    }

    /// Reads a part of a file that was opened with [#openLocked]. Another channel would release the lock
    /// when it is closed.
    ///
    /// @return the bytes, fewer than `length` when the file ends before
    public byte[] read(long from, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate((int) Math.min(length, Math.max(0, channel.size() - from)));
        while (bytes.hasRemaining() && channel.read(bytes, from + bytes.position()) >= 0) {
            // The loop condition reads.
        }
        byte[] read = new byte[bytes.position()];
        bytes.flip().get(read);
        return read;
    }

    /// Cuts the file back to its first `length` bytes.
    public void cut(long length) throws IOException {
        channel.truncate(length);
        channel.position(length);
    }

    /// Hands all bytes to the operating system, so that they survive the end of this process.
    ///
    /// @throws IOException when not all of them could be written; the file is then cut back to its old
    ///     length, if possible
    public void append(byte[] bytes) throws IOException {
        long before = channel.position();
        ByteBuffer rest = ByteBuffer.wrap(bytes);
        try {
            while (rest.hasRemaining()) {
                channel.write(rest);
            }
        } catch (IOException e) {
            try {
                channel.truncate(before);
            } catch (IOException again) {
                e.addSuppressed(again);
            }
            throw new IOException(path + ": not written after " + before + " bytes: " + e.getMessage(), e);
        }
    }

    /// Makes all bytes durable, so that they survive a failure of the machine.
    ///
    /// @return length of the file in bytes
    public long sync() throws IOException {
        channel.force(true);
        return channel.position();
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
