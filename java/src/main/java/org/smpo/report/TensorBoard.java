package org.smpo.report;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.Map;
import java.util.zip.CRC32C;
import org.smpo.io.AppendedFile;

/// An event file that TensorBoard reads: scalars, images and text by tag and step.
///
/// The file is a sequence of records: a length, a masked CRC32C of the length, the bytes of an `Event`
/// message and a masked CRC32C of those bytes (TensorFlow's `record_writer.cc`, `event.proto` and
/// `summary.proto`). Each record reaches the operating system before its method returns. As with [RunLog],
/// a checkpoint records the length of the file, and [#resume] cuts the file back to it, so that TensorBoard
/// shows every step once. Not thread-safe.
public final class TensorBoard implements Closeable {
    private static final int CRC_MASK_DELTA = 0xa282ead8;
    private static final int CRC_ROTATION = 15;

    /// Fields of `Event`.
    private static final int WALL_TIME = 1;

    private static final int STEP = 2;
    private static final int FILE_VERSION = 3;
    private static final int SUMMARY = 5;

    /// Fields of `Summary` and of its `Value`.
    private static final int VALUE = 1;

    private static final int TAG = 1;
    private static final int SIMPLE_VALUE = 2;
    private static final int IMAGE = 4;
    private static final int TENSOR = 8;
    private static final int METADATA = 9;

    /// Fields of `Summary.Image`.
    private static final int HEIGHT = 1;

    private static final int WIDTH = 2;
    private static final int COLORSPACE = 3;
    private static final int ENCODED = 4;
    private static final int RGB = 3;

    /// Fields of `SummaryMetadata` and its `PluginData`.
    private static final int PLUGIN_DATA = 1;

    private static final int PLUGIN_NAME = 1;

    /// Fields of `TensorProto`.
    private static final int TENSOR_DTYPE = 1;

    private static final int TENSOR_SHAPE = 2;
    private static final int STRING_VALUE = 8;
    private static final int DT_STRING = 7;

    private final AppendedFile file;
    private final InstantSource clock;

    private TensorBoard(AppendedFile file, InstantSource clock) {
        this.file = file;
        this.clock = clock;
    }

    /// Returns the name of a run's event file; TensorBoard finds files by the part before the first number.
    public static Path fileIn(Path folder) {
        return folder.resolve("events.out.tfevents.0.smpo");
    }

    /// Starts an event file.
    ///
    /// @param clock clock for the wall times of events
    /// @throws IOException when the file exists or cannot be created
    public static TensorBoard create(Path file, InstantSource clock) throws IOException {
        TensorBoard board = new TensorBoard(AppendedFile.create(file), clock);
        try {
            board.append(board.event().text(FILE_VERSION, "brain.Event:2"));
        } catch (IOException e) {
            board.close();
            throw e;
        }
        return board;
    }

    /// Continues the event file of a run from one of its checkpoints.
    ///
    /// @param length length of the file at the checkpoint, from [#sync]
    /// @param clock clock for the wall times of events
    /// @throws IOException when the file is shorter or cannot be opened
    public static TensorBoard resume(Path file, long length, InstantSource clock) throws IOException {
        return new TensorBoard(AppendedFile.resume(file, length), clock);
    }

    /// Appends the numbers of one step, in one record.
    ///
    /// @param values numbers by tag, such as `loss/policy`, in the map's order; narrowed to single
    ///     precision
    public void scalars(long step, Map<String, Double> values) throws IOException {
        Protobuf summary = new Protobuf();
        values.forEach((tag, value) ->
                summary.message(VALUE, new Protobuf().text(TAG, tag).fixed(SIMPLE_VALUE, value.floatValue())));
        append(event(step).message(SUMMARY, summary));
    }

    /// Appends an image of one step.
    ///
    /// @param tag tag of the image, such as `samples/a cat (0)`
    /// @param png bytes of a PNG file with three channels
    /// @throws IllegalArgumentException when the bytes are not a PNG file
    public void image(long step, String tag, byte[] png) throws IOException {
        // The first chunk is always the header, which begins with the size.
        ByteBuffer header = ByteBuffer.wrap(png);
        if (png.length < 24 || header.getLong(0) != 0x89504e470d0a1a0aL) {
            throw new IllegalArgumentException("tensorboard: " + tag + ": expected a PNG file's bytes");
        }
        Protobuf image = new Protobuf()
                .varint(HEIGHT, header.getInt(20))
                .varint(WIDTH, header.getInt(16))
                .varint(COLORSPACE, RGB)
                .bytes(ENCODED, png);
        Protobuf value = new Protobuf().text(TAG, tag).message(IMAGE, image).message(METADATA, plugin("images"));
        append(event(step).message(SUMMARY, new Protobuf().message(VALUE, value)));
    }

    /// Appends text, which TensorBoard renders as Markdown.
    public void text(long step, String tag, String markdown) throws IOException {
        Protobuf tensor = new Protobuf()
                .varint(TENSOR_DTYPE, DT_STRING)
                .message(TENSOR_SHAPE, new Protobuf())
                .text(STRING_VALUE, markdown);
        Protobuf value = new Protobuf().text(TAG, tag).message(TENSOR, tensor).message(METADATA, plugin("text"));
        append(event(step).message(SUMMARY, new Protobuf().message(VALUE, value)));
    }

    /// Makes all records durable.
    ///
    /// @return length of the file in bytes, for [#resume]
    public long sync() throws IOException {
        return file.sync();
    }

    @Override
    public void close() throws IOException {
        file.close();
    }

    private static Protobuf plugin(String name) {
        return new Protobuf().message(PLUGIN_DATA, new Protobuf().text(PLUGIN_NAME, name));
    }

    private Protobuf event() {
        return new Protobuf().fixed(WALL_TIME, clock.millis() / 1000.0);
    }

    private Protobuf event(long step) {
        // Zero is the default value and is left out, as protobuf does.
        return step == 0 ? event() : event().varint(STEP, step);
    }

    private void append(Protobuf event) throws IOException {
        file.append(record(event.bytes()));
    }

    /// Writes one record of a TFRecord file.
    static byte[] record(byte[] data) {
        ByteBuffer out = ByteBuffer.allocate(Long.BYTES + Integer.BYTES + data.length + Integer.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(data.length);
        out.putInt(maskedCrc(out.array(), Long.BYTES)).put(data).putInt(maskedCrc(data, data.length));
        return out.array();
    }

    private static int maskedCrc(byte[] bytes, int length) {
        CRC32C crc = new CRC32C();
        crc.update(bytes, 0, length);
        return Integer.rotateRight((int) crc.getValue(), CRC_ROTATION) + CRC_MASK_DELTA;
    }
}
