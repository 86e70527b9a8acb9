package org.smpo.reward;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.zip.CRC32C;

/// The journal of an unfinished scoring run: an append-only file with one frame per batch. Each frame follows its length
/// and checksum and is on disk when [#append] returns; a frame that a crash cut short is dropped on resume. The first
/// frame identifies the run, and another run does not resume from it.
///
/// The file is locked while it is open, so that no two processes write it.
final class ScoreJournal implements AutoCloseable {
    private static final int FRAME_HEADER = 2 * Integer.BYTES;
    private static final int MAX_FRAME = 1 << 28;

    private final Path path;
    private final FileChannel channel;
    private final FileLock lock;
    private final List<ScoredPair> rows;

    private ScoreJournal(Path path, FileChannel channel, FileLock lock, List<ScoredPair> rows) {
        this.path = path;
        this.channel = channel;
        this.lock = lock;
        this.rows = rows;
    }

    /// Starts a journal.
    ///
    /// @param identity metadata that identify the run
    /// @throws IOException when there is a journal already, or it cannot be written
    static ScoreJournal begin(Path path, SortedMap<String, String> identity) throws IOException {
        if (Files.exists(path) && Files.size(path) > 0) {
            throw new IOException(
                    path + ": expected no unfinished run, found one: rerun with --resume to resume it, or delete it");
        }
        return open(path, identity);
    }

    /// Resumes a journal, or starts one where there is none.
    ///
    /// @throws IOException when it belongs to another run, naming the difference; another process has it open; or it
    ///     cannot be read
    static ScoreJournal open(Path path, SortedMap<String, String> identity) throws IOException {
        FileChannel channel =
                FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE);
        try {
            FileLock lock = lock(path, channel);
            List<ScoredPair> rows = new ArrayList<>();
            byte[] first = frame(channel);
            if (first == null) {
                // An empty file, or a first frame that a crash cut short.
                channel.truncate(0);
                channel.position(0);
                write(channel, encode(identity));
            } else {
                requireSame(path, decode(first), identity);
                long end = channel.position();
                for (byte[] frame = frame(channel); frame != null; frame = frame(channel)) {
                    rows.addAll(decodeRows(frame));
                    end = channel.position();
                }
                channel.truncate(end);
                channel.position(end);
            }
            return new ScoreJournal(path, channel, lock, rows);
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    private static FileLock lock(Path path, FileChannel channel) throws IOException {
        FileLock lock;
        try {
            lock = channel.tryLock();
        } catch (OverlappingFileLockException e) {
            lock = null;
        }
        if (lock == null) {
            throw new IOException(path + ": another process is writing it");
        }
        return lock;
    }

    private static void requireSame(Path path, Map<String, String> found, Map<String, String> wanted)
            throws IOException {
        Optional<String> key = ScoreTable.difference(found, wanted);
        if (key.isPresent()) {
            throw new IOException(path + ": expected an unfinished run of the same " + key.get() + " ("
                    + wanted.get(key.get()) + "), found " + found.get(key.get())
                    + ": give the same model, data and options, or delete the file");
        }
    }

    /// Returns all rows so far, in order.
    List<ScoredPair> rows() {
        return rows;
    }

    /// Appends a batch, which is on disk afterwards.
    void append(List<ScoredPair> batch) throws IOException {
        write(channel, encode(batch));
        rows.addAll(batch);
    }

    /// Deletes the file after its content was written elsewhere.
    void delete() throws IOException {
        Files.deleteIfExists(path);
    }

    @Override
    public void close() throws IOException {
        lock.close();
        channel.close();
    }

    private static void write(FileChannel channel, byte[] content) throws IOException {
        ByteBuffer frame = ByteBuffer.allocate(FRAME_HEADER + content.length);
        frame.putInt(content.length).putInt(checksum(content)).put(content).flip();
        while (frame.hasRemaining()) {
            channel.write(frame);
        }
        channel.force(false);
    }

    /// Returns the content of the next frame, or null when there is no whole frame.
    private static byte[] frame(FileChannel channel) throws IOException {
        byte[] header = read(channel, FRAME_HEADER);
        if (header == null) {
            return null;
        }
        int length = ByteBuffer.wrap(header).getInt(0);
        int checksum = ByteBuffer.wrap(header).getInt(Integer.BYTES);
        if (length < 0 || length > MAX_FRAME) {
            return null;
        }
        byte[] content = read(channel, length);
        return content != null && checksum(content) == checksum ? content : null;
    }

    private static byte[] read(FileChannel channel, int length) throws IOException {
        if (channel.size() - channel.position() < length) {
            return null;
        }
        byte[] bytes = new byte[length];
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                return null;
            }
        }
        return bytes;
    }

    private static int checksum(byte[] content) {
        CRC32C crc = new CRC32C();
        crc.update(content);
        return (int) crc.getValue();
    }

    private static byte[] encode(Map<String, String> identity) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeInt(identity.size());
        for (Map.Entry<String, String> entry : identity.entrySet()) {
            writeText(out, entry.getKey());
            writeText(out, entry.getValue());
        }
        return bytes.toByteArray();
    }

    private static SortedMap<String, String> decode(byte[] frame) throws IOException {
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(frame));
        SortedMap<String, String> identity = new TreeMap<>();
        for (int left = in.readInt(); left > 0; left--) {
            identity.put(readText(in), readText(in));
        }
        return identity;
    }

    private static byte[] encode(List<ScoredPair> batch) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeInt(batch.size());
        for (ScoredPair pair : batch) {
            out.writeLong(pair.row());
            writeText(out, pair.id());
            out.writeDouble(pair.score0());
            out.writeDouble(pair.score1());
            writeText(out, pair.problem());
        }
        return bytes.toByteArray();
    }

    private static List<ScoredPair> decodeRows(byte[] frame) throws IOException {
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(frame));
        List<ScoredPair> batch = new ArrayList<>();
        for (int left = in.readInt(); left > 0; left--) {
            batch.add(new ScoredPair(in.readLong(), readText(in), in.readDouble(), in.readDouble(), readText(in)));
        }
        return batch;
    }

    private static void writeText(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    private static String readText(DataInputStream in) throws IOException {
        return new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
    }
}
