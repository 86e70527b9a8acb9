package org.smpo.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// A row-major tensor of floats in memory. Small files hold such tensors by name: batches, latents,
/// embeddings. Weights may be large and stay in their files ([Safetensors]).
public final class FloatTensor {
    private final List<Long> shape;
    private final float[] values;

    private FloatTensor(List<Long> shape, float[] values) {
        this.shape = List.copyOf(shape);
        this.values = values;
    }

    /// Wraps these values without a copy.
    ///
    /// @throws IllegalArgumentException when their number does not match the shape
    public static FloatTensor of(float[] values, long... shape) {
        long elements = Arrays.stream(shape).reduce(1, Math::multiplyExact);
        if (elements != values.length) {
            throw new IllegalArgumentException("tensor of shape " + Arrays.toString(shape) + ": expected " + elements
                    + " values, got " + values.length);
        }
        return new FloatTensor(Arrays.stream(shape).boxed().toList(), values);
    }

    /// Dimensions, outermost first.
    public List<Long> shape() {
        return shape;
    }

    /// The dimensions as an array.
    public long[] sizes() {
        return shape.stream().mapToLong(Long::longValue).toArray();
    }

    /// The values themselves, not a copy.
    public float[] values() {
        return values;
    }

    /// Reads every tensor of a safetensors or torch file, in the file's order. Narrower floating-point
    /// dtypes are widened; F64 and integers are rounded to the nearest float.
    ///
    /// @throws IOException when the file cannot be read, is damaged, or holds a dtype that is not a
    ///     number
    public static Map<String, FloatTensor> readAll(Path path) throws IOException {
        Map<String, FloatTensor> all = new LinkedHashMap<>();
        try (TensorFile file = TensorFile.open(path)) {
            for (TensorEntry entry : file.entries()) {
                all.put(entry.name(), read(file, entry));
            }
        }
        return all;
    }

    /// Reads one tensor of an open file, likewise.
    ///
    /// @throws IOException when its bytes are damaged, or its dtype is not a number
    public static FloatTensor read(TensorFile file, TensorEntry entry) throws IOException {
        byte[] bytes = new byte[Math.toIntExact(entry.length())];
        ByteView.of(file, entry).copyTo(0, bytes, 0, bytes.length);
        return new FloatTensor(entry.shape(), floats(file.path(), entry, bytes));
    }

    private static float[] floats(Path path, TensorEntry entry, byte[] bytes) throws SafetensorsException {
        ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        float[] values =
                new float[Math.toIntExact(8L * bytes.length / entry.dtype().bits())];
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (entry.dtype()) {
                case F32 -> buffer.getFloat();
                case F16 -> Float.float16ToFloat(buffer.getShort());
                case BF16 -> Float.intBitsToFloat(buffer.getShort() << 16);
                case F64 -> (float) buffer.getDouble();
                case I32 -> buffer.getInt();
                case I64 -> buffer.getLong();
                default ->
                    throw new SafetensorsException(
                            path,
                            entry.name(),
                            "F16, BF16, F32, F64, I32 or I64",
                            entry.dtype().name());
            };
        }
        return values;
    }

    /// Writes tensors as F32, atomically.
    ///
    /// @param metadata metadata of the file, may be empty
    /// @throws IOException when the file cannot be written; an old one is then untouched
    public static void writeAll(Path path, Map<String, FloatTensor> tensors, Map<String, String> metadata)
            throws IOException {
        List<SafetensorsWriter.Declaration> declarations = new ArrayList<>();
        tensors.forEach(
                (name, tensor) -> declarations.add(new SafetensorsWriter.Declaration(name, DType.F32, tensor.shape)));
        SafetensorsWriter.write(
                path,
                declarations,
                metadata,
                (entry, out) -> out.write(entry.name(), tensors.get(entry.name()).values));
    }
}
