package org.smpo.reward;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import org.smpo.io.AppendedFile;

/// The results of an unfinished scoring run: an append-only file with one frame per batch. Each frame
/// begins with its length and checksum and is durable when [#append] returns; an incomplete last frame is
/// cut off when the run is resumed. The first frame identifies the run, so that only the same run resumes
/// it.
///
/// The file is locked while it is open, so that only one process writes it.
final class ScoreJournal implements AutoCloseable {
    private static final int FRAME_HEADER = 2 * Integer.BYTES;
    private static final int MAX_FRAME = 1 << 28;

    private final Path path;
    private final AppendedFile file;
    private final List<ScoredPair> rows = new ArrayList<>();

    private ScoreJournal(Path path, AppendedFile file) {
        this.path = path;
        this.file = file;
    }

    /// Begins a journal.
    ///
    /// @param identity inputs and options that identify the run
    /// @param warnings told when the file system has no locks
    /// @throws IOException when one exists already, or it cannot be written
    static ScoreJournal begin(Path path, SortedMap<String, String> identity, Consumer<String> warnings)
            throws IOException {
        return open(path, identity, warnings, true);
    }

    /// Resumes a journal, or begins one where there is none.
    ///
    /// @param warnings told when the file system has no locks
    /// @throws IOException when it belongs to another run, naming the difference; another process writes
    ///     it; or it cannot be read
    static ScoreJournal open(Path path, SortedMap<String, String> identity, Consumer<String> warnings)
            throws IOException {
        return open(path, identity, warnings, false);
    }

    private static ScoreJournal open(
            Path path, SortedMap<String, String> identity, Consumer<String> warnings, boolean mustBeNew)
            throws IOException {
        AppendedFile file = AppendedFile.openLocked(path, warnings);
        try {
            ScoreJournal journal = new ScoreJournal(path, file);
            byte[] first = journal.frame(0);
            if (mustBeNew && file.length() > 0) {
                throw new IOException(path
                        + ": expected no unfinished run, found one: rerun with --resume to resume it, or delete it");
            }
            if (first == null) {
                // Empty, or with an incomplete first frame.
                file.cut(0);
                journal.write(encode(identity));
            } else {
                requireSame(path, decode(first), identity);
                journal.readRows(FRAME_HEADER + first.length);
            }
            return journal;
        } catch (IOException | RuntimeException e) {
            file.close();
            throw e;
        }
    }

    private void readRows(long from) throws IOException {
        long end = from;
        for (byte[] frame = frame(end); frame != null; frame = frame(end)) {
            rows.addAll(decodeRows(frame));
            end += FRAME_HEADER + frame.length;
        }
        file.cut(end);
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

    /// All rows so far, in order.
    List<ScoredPair> rows() {
        return rows;
    }

    /// Adds a batch and makes it durable.
    void append(List<ScoredPair> batch) throws IOException {
        write(encode(batch));
        rows.addAll(batch);
    }

    /// Deletes the file, once its content is elsewhere.
    void delete() throws IOException {
        Files.deleteIfExists(path);
    }

    @Override
    public void close() throws IOException {
        file.close();
    }

    private void write(byte[] content) throws IOException {
        ByteBuffer frame = ByteBuffer.allocate(FRAME_HEADER + content.length);
        frame.putInt(content.length).putInt(checksum(content)).put(content);
        file.append(frame.array());
        file.sync();
    }

    /// The content of the frame at a position, or null when there is no whole one.
    private byte[] frame(long at) throws IOException {
        byte[] header = file.read(at, FRAME_HEADER);
        if (header.length < FRAME_HEADER) {
            return null;
        }
        int length = ByteBuffer.wrap(header).getInt(0);
        int checksum = ByteBuffer.wrap(header).getInt(Integer.BYTES);
        if (length < 0 || length > MAX_FRAME) {
            return null;
        }
        byte[] content = file.read(at + FRAME_HEADER, length);
        return content.length == length && checksum(content) == checksum ? content : null;
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

    /// Rows as bytes, which [#decodeRows] reads.
    static byte[] encode(List<ScoredPair> batch) throws IOException {
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

    static List<ScoredPair> decodeRows(byte[] frame) throws IOException {
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
