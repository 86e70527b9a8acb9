package org.smpo.cache;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.smpo.io.DType;

/// A float32 tensor of a cached value, in Java memory.
public final class CachedTensor {
    private static final DType DTYPE = DType.F32;

    private final List<Long> shape;
    private final byte[] bytes;

    CachedTensor(List<Long> shape, byte[] bytes) {
        long elements = shape.stream().reduce(1L, Math::multiplyExact);
        if (elements * DTYPE.bits() != 8L * bytes.length) {
            throw new IllegalArgumentException(
                    "tensor: expected " + elements + " elements of " + DTYPE + ", got " + bytes.length + " bytes");
        }
        this.shape = List.copyOf(shape);
        this.bytes = bytes;
    }

    /// A tensor with a copy of these values, row-major.
    ///
    /// @throws IllegalArgumentException when their number does not match the shape
    public static CachedTensor of(float[] values, Long... shape) {
        ByteBuffer buffer = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        buffer.asFloatBuffer().put(values);
        return new CachedTensor(List.of(shape), buffer.array());
    }

    public DType dtype() {
        return DTYPE;
    }

    public List<Long> shape() {
        return shape;
    }

    /// A copy of the values.
    public float[] floats() {
        float[] values = new float[bytes.length / Float.BYTES];
        buffer().asFloatBuffer().get(values);
        return values;
    }

    /// The bytes, little-endian, read-only.
    ByteBuffer buffer() {
        return ByteBuffer.wrap(bytes).asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CachedTensor tensor && tensor.shape.equals(shape) && Arrays.equals(tensor.bytes, bytes);
    }

    @Override
    public int hashCode() {
        return 31 * shape.hashCode() + Arrays.hashCode(bytes);
    }

    @Override
    public String toString() {
        return DTYPE + " " + shape;
    }
}
