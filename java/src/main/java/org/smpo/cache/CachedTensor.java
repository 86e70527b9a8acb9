package org.smpo.cache;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.smpo.io.DType;

/// A tensor of a cached value, on the heap.
public final class CachedTensor {
    private final DType dtype;
    private final List<Long> shape;
    private final byte[] bytes;

    CachedTensor(DType dtype, List<Long> shape, byte[] bytes) {
        long elements = shape.stream().reduce(1L, Math::multiplyExact);
        if (elements * dtype.bits() != 8L * bytes.length) {
            throw new IllegalArgumentException(
                    "tensor: expected " + elements + " elements of " + dtype + ", got " + bytes.length + " bytes");
        }
        this.dtype = dtype;
        this.shape = List.copyOf(shape);
        this.bytes = bytes;
    }

    /// A float32 tensor with a copy of these values, row-major.
    ///
    /// @throws IllegalArgumentException when their number is not that of the shape
    public static CachedTensor of(float[] values, Long... shape) {
        ByteBuffer buffer = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        buffer.asFloatBuffer().put(values);
        return new CachedTensor(DType.F32, List.of(shape), buffer.array());
    }

    /// A float64 tensor, likewise.
    public static CachedTensor of(double[] values, Long... shape) {
        ByteBuffer buffer = ByteBuffer.allocate(Double.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        buffer.asDoubleBuffer().put(values);
        return new CachedTensor(DType.F64, List.of(shape), buffer.array());
    }

    public DType dtype() {
        return dtype;
    }

    public List<Long> shape() {
        return shape;
    }

    /// A copy of a float32 tensor's values.
    ///
    /// @throws IllegalStateException when it is of another type
    public float[] floats() {
        require(DType.F32);
        float[] values = new float[bytes.length / Float.BYTES];
        buffer().asFloatBuffer().get(values);
        return values;
    }

    /// A copy of a float64 tensor's values.
    ///
    /// @throws IllegalStateException when it is of another type
    public double[] doubles() {
        require(DType.F64);
        double[] values = new double[bytes.length / Double.BYTES];
        buffer().asDoubleBuffer().get(values);
        return values;
    }

    /// The bytes, little-endian, read-only.
    ByteBuffer buffer() {
        return ByteBuffer.wrap(bytes).asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
    }

    private void require(DType wanted) {
        if (dtype != wanted) {
            throw new IllegalStateException("tensor: expected " + wanted + ", it is " + dtype);
        }
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CachedTensor tensor
                && tensor.dtype == dtype
                && tensor.shape.equals(shape)
                && Arrays.equals(tensor.bytes, bytes);
    }

    @Override
    public int hashCode() {
        return 31 * (31 * dtype.hashCode() + shape.hashCode()) + Arrays.hashCode(bytes);
    }

    @Override
    public String toString() {
        return dtype + " " + shape;
    }
}
