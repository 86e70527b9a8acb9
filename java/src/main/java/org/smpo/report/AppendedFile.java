package org.smpo.report;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/// A file that only grows at its end, but can be cut back to a length that it once had. Not for several
/// threads.
final class AppendedFile implements Closeable {
    private final Path path;
    private final FileChannel channel;

    private AppendedFile(Path path, FileChannel channel) {
        this.path = path;
        this.channel = channel;
    }

    /// A file that is not there yet.
    ///
    /// @throws IOException when it is, or cannot be made
    static AppendedFile create(Path path) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
        return new AppendedFile(path, channel);
    }

    /// A file that is there, cut back to its first `length` bytes.
    ///
    /// @throws IOException when it is shorter than that, or cannot be opened
    static AppendedFile resume(Path path, long length) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE);
        try {
            if (channel.size() < length) {
                throw new IOException(path + ": expected at least the " + length + " bytes that it had at the "
                        + "checkpoint, found " + channel.size() + "; was it edited or taken from another run?");
            }
            channel.truncate(length);
            channel.position(length);
            return new AppendedFile(path, channel);
        } catch (IOException e) {
            channel.close();
            throw e;
        }
    }

    /// Hands all bytes to the operating system, so that they survive the end of this process.
    ///
    /// @throws IOException when not all of them could be; the file then ends where it ended before, if it can
    ///     be cut
    void append(byte[] bytes) throws IOException {
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

    /// Makes everything durable, so that it survives the end of the machine.
    ///
    /// @return the length of the file
    long sync() throws IOException {
        channel.force(true);
        return channel.position();
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
