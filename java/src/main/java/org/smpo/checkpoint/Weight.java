package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// One tensor of a model: where its bytes are and how to assemble them. Bytes are read when they are
/// needed.
///
/// A checkpoint may store a tensor differently from how the model takes it: as rows of a larger tensor,
/// as several tensors to be joined, or transposed. A weight is a view of all of these: nothing is copied
/// before [#buffer] or [#writeTo].
///
/// @param name Name of the parameter
/// @param dtype Dtype as stored
/// @param shape Dimensions, outermost first
/// @param data Little-endian elements, row-major; valid while the file is open
/// @param transposed Whether the data is the transpose of this matrix
/// @param origin File and name in it, for messages
public record Weight(String name, DType dtype, List<Long> shape, ByteView data, boolean transposed, String origin) {
    private static final int CHUNK = 1 << 18;

    /// Takes bytes in order.
    @FunctionalInterface
    public interface Sink {
        void accept(ByteBuffer bytes) throws IOException;
    }

    public Weight {
        shape = List.copyOf(shape);
        long stored = data.size();
        if (stored * 8 != ModelConfig.elements(shape) * dtype.bits()) {
            throw new IllegalArgumentException(
                    origin + ": " + dtype + " " + shape + " does not take " + stored + " bytes");
        }
    }

    /// A tensor in memory, little-endian and row-major.
    public static Weight of(String name, DType dtype, List<Long> shape, byte[] bytes) {
        return new Weight(name, dtype, shape, ByteView.of(bytes), false, name);
    }

    /// A tensor of an open file.
    ///
    /// @throws IOException when its bytes are damaged and the file's format has checksums
    public static Weight of(TensorFile file, TensorEntry entry) throws IOException {
        return new Weight(
                entry.name(),
                entry.dtype(),
                entry.shape(),
                ByteView.of(file, entry),
                false,
                file.path() + ": " + entry.name());
    }

    /// Every tensor of an open file.
    ///
    /// @throws IOException when bytes are damaged and the file's format has checksums
    static List<Weight> all(TensorFile file) throws IOException {
        List<Weight> weights = new ArrayList<>();
        for (TensorEntry entry : file.entries()) {
            weights.add(of(file, entry));
        }
        return weights;
    }

    /// Writes a safetensors file of weights under their names, whole or not at all. Its metadata has
    /// `format: pt`, without which transformers refuses a file.
    ///
    /// @param dtype Dtype as stored
    /// @throws ModelException when an element is not finite or leaves the range of the dtype
    public static void writeAll(Path file, Collection<Weight> weights, DType dtype, Map<String, String> metadata)
            throws IOException {
        Map<String, String> all = new TreeMap<>(metadata);
        all.put("format", "pt");
        writeAll(file, weights.stream().map(weight -> new Output(weight, dtype)).toList(), all);
    }

    /// A weight with the dtype in which it is written; null keeps the weight's dtype.
    record Output(Weight weight, DType dtype) {}

    /// Writes a safetensors file of weights under their names, whole or not at all.
    static void writeAll(Path file, List<Output> outputs, Map<String, String> metadata) throws IOException {
        Map<String, Output> byName = new LinkedHashMap<>();
        outputs.forEach(output -> byName.put(output.weight().name(), output));
        SafetensorsWriter.write(
                file,
                outputs.stream()
                        .map(output -> output.weight().declaration(output.dtype()))
                        .toList(),
                metadata,
                (entry, out) -> {
                    Output output = byName.get(entry.name());
                    output.weight().writeTo(output.dtype(), bytes -> out.write(entry.name(), bytes));
                });
    }

    /// Number of elements.
    public long elements() {
        return ModelConfig.elements(shape);
    }

    /// Bytes as stored.
    public long bytes() {
        return elements() * dtype.bits() / 8;
    }

    public Weight named(String newName) {
        return new Weight(newName, dtype, shape, data, transposed, origin);
    }

    /// The same elements in another shape.
    Weight reshaped(List<Long> newShape) {
        return new Weight(name, dtype, newShape, data, transposed, origin);
    }

    /// Rows `from` to `from + count` along the first dimension.
    Weight rows(long from, long count) {
        if (transposed) {
            throw new IllegalStateException(origin + ": rows of a transposed tensor");
        }
        long row = bytes() / shape.get(0);
        List<Long> part = new ArrayList<>(shape);
        part.set(0, count);
        return new Weight(name, dtype, part, data.slice(from * row, count * row), false, origin);
    }

    /// Several tensors joined along the first dimension.
    static Weight joined(String name, List<Weight> parts) throws ModelException {
        Weight first = parts.get(0);
        List<Long> shape = new ArrayList<>(first.shape);
        List<ByteView> data = new ArrayList<>();
        long rows = 0;
        for (Weight part : parts) {
            if (part.dtype != first.dtype || part.transposed) {
                throw new ModelException(
                        part.origin,
                        "dtype",
                        first.dtype + " like " + first.name + ", with which it is joined",
                        part.dtype);
            }
            rows += part.shape.get(0);
            data.add(part.data);
        }
        shape.set(0, rows);
        return new Weight(name, first.dtype, shape, ByteView.joined(data), false, first.origin);
    }

    /// The elements times a factor, in the same dtype where it can hold them exactly, otherwise in F32
    /// or F64.
    Weight scaled(double factor) throws IOException {
        double[] values = toDoubles();
        ByteBuffer wide = ByteBuffer.allocate(Math.multiplyExact(Double.BYTES, values.length))
                .order(ByteOrder.LITTLE_ENDIAN);
        for (double value : values) {
            wide.putDouble(value * factor);
        }
        byte[] same = converted(wide, values.length, dtype);
        ByteBuffer narrow = ByteBuffer.wrap(same).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < values.length; i++) {
            if (Floats.get(dtype, narrow, i) != values[i] * factor) {
                DType target = dtype == DType.F64 ? DType.F64 : DType.F32;
                return new Weight(
                        name, target, shape, ByteView.of(converted(wide, values.length, target)), false, origin);
            }
        }
        return new Weight(name, dtype, shape, ByteView.of(same), false, origin);
    }

    private static byte[] converted(ByteBuffer doubles, int count, DType target) {
        byte[] to = new byte[Math.multiplyExact(count, target.bytes())];
        Floats.convert(DType.F64, doubles, target, ByteBuffer.wrap(to).order(ByteOrder.LITTLE_ENDIAN), count);
        return to;
    }

    /// The transposed matrix.
    Weight transpose() {
        if (shape.size() != 2) {
            throw new IllegalStateException(origin + ": expected a matrix to transpose, got " + shape);
        }
        return new Weight(name, dtype, List.of(shape.get(1), shape.get(0)), data, !transposed, origin);
    }

    /// The whole tensor, little-endian and row-major: a view of the file where its bytes lie there in
    /// this form, else a copy.
    ///
    /// @throws IllegalStateException when it has more bytes than a buffer can hold (2³¹ − 1)
    public ByteBuffer buffer() throws IOException {
        if (!transposed) {
            return data.buffer();
        }
        ByteBuffer copy = ByteBuffer.allocate(Math.toIntExact(bytes())).order(ByteOrder.LITTLE_ENDIAN);
        forEachChunk((chunk, count) -> copy.put(chunk));
        return copy.flip();
    }

    /// Declares this tensor for a file to be written.
    ///
    /// @param target Dtype to write; null keeps the dtype, and tensors that are not floating point
    ///     always keep it
    SafetensorsWriter.Declaration declaration(DType target) {
        return new SafetensorsWriter.Declaration(name, storedAs(target), shape);
    }

    /// The dtype under which [#writeTo] writes.
    DType storedAs(DType target) {
        return target == null || !Floats.TYPES.contains(dtype) ? dtype : target;
    }

    /// Streams the elements, converted to `target`.
    ///
    /// @throws ModelException when an element is not finite, or no longer is in the narrower type
    public void writeTo(DType target, Sink sink) throws IOException {
        DType stored = storedAs(target);
        ByteBuffer converted = stored == dtype
                ? null
                : ByteBuffer.allocate(CHUNK * stored.bits() / 8).order(ByteOrder.LITTLE_ENDIAN);
        long[] at = {0};
        forEachChunk((chunk, count) -> {
            requireFinite(chunk, count, at[0]);
            if (converted == null) {
                sink.accept(chunk);
            } else {
                int lost = Floats.convert(dtype, chunk, stored, converted, count);
                if (lost >= 0) {
                    throw new ModelException(
                            origin,
                            "element " + (at[0] + lost),
                            "a value that " + stored + " can hold",
                            Floats.get(dtype, chunk, lost) + "; choose bf16 or fp32");
                }
                converted.clear().limit(count * stored.bits() / 8);
                sink.accept(converted);
            }
            at[0] += count;
        });
    }

    /// Reads every element.
    ///
    /// @throws ModelException when one is NaN or infinite, naming the tensor, the place and the value
    public void requireFinite() throws IOException {
        long[] at = {0};
        forEachChunk((chunk, count) -> {
            requireFinite(chunk, count, at[0]);
            at[0] += count;
        });
    }

    private void requireFinite(ByteBuffer chunk, int count, long at) throws ModelException {
        int bad = Floats.firstNonFinite(dtype, chunk, count);
        if (bad >= 0) {
            throw new ModelException(
                    origin,
                    "element " + (at + bad) + " of " + name + " " + shape,
                    "a finite number",
                    Floats.get(dtype, chunk, bad));
        }
    }

    /// All elements as doubles.
    public double[] toDoubles() throws IOException {
        double[] values = new double[Math.toIntExact(elements())];
        int[] at = {0};
        forEachChunk((chunk, count) -> {
            for (int i = 0; i < count; i++) {
                values[at[0]++] = Floats.get(dtype, chunk, i);
            }
        });
        return values;
    }

    /// `count` elements from position `from` on, as doubles.
    ///
    /// @throws ModelException when one is NaN or infinite, naming the tensor, the place and the value
    double[] toDoubles(long from, int count) throws IOException {
        int width = dtype.bits() / 8;
        byte[] bytes = new byte[Math.multiplyExact(count, width)];
        if (transposed) {
            copyTransposed(from, bytes, bytes.length, width);
        } else {
            data.copyTo(from * width, bytes, 0, bytes.length);
        }
        ByteBuffer chunk = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        requireFinite(chunk, count, from);
        double[] values = new double[count];
        for (int i = 0; i < count; i++) {
            values[i] = Floats.get(dtype, chunk, i);
        }
        return values;
    }

    private interface ChunkConsumer {
        void accept(ByteBuffer chunk, int elements) throws IOException;
    }

    /// Passes on the elements in order, at most [#CHUNK] at a time, in a buffer that is reused.
    private void forEachChunk(ChunkConsumer consumer) throws IOException {
        int width = Math.max(1, dtype.bits() / 8);
        byte[] array = new byte[(int) Math.min((long) CHUNK * width, Math.max(bytes(), 1))];
        for (long from = 0; from < data.size(); from += array.length) {
            int length = (int) Math.min(array.length, data.size() - from);
            if (transposed) {
                copyTransposed(from / width, array, length, width);
            } else {
                data.copyTo(from, array, 0, length);
            }
            ByteBuffer chunk = ByteBuffer.wrap(array, 0, length).order(ByteOrder.LITTLE_ENDIAN);
            consumer.accept(chunk, (int) (length * 8L / dtype.bits()));
        }
    }

    private void copyTransposed(long firstElement, byte[] array, int length, int width) {
        long rows = shape.get(0);
        long columns = shape.get(1);
        for (int at = 0; at < length; at += width) {
            long element = firstElement + at / width;
            data.copyTo((element % columns * rows + element / columns) * width, array, at, width);
        }
    }
}
