package org.smpo.ffi;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Locale;
import org.smpo.io.DType;

/// A tensor in the memory of an engine's device: a dtype, a shape and row-major values.
///
/// An [Engine] creates it. The caller that requested it closes it, or closing the engine does. It
/// belongs to the engine's thread. The dtype and the shape never change; any thread may read them, even
/// after the tensor is closed.
public final class DeviceTensor extends Handle {
    private final Engine engine;
    private final DType dtype;
    private final long[] shape;

    DeviceTensor(Engine engine, long id, DType dtype, long[] shape) {
        super(
                engine.session(),
                id,
                "DeviceTensor " + dtype.name().toLowerCase(Locale.ROOT) + Arrays.toString(shape) + " on "
                        + engine.config().device(),
                Native::tensorClose);
        this.engine = engine;
        this.dtype = dtype;
        this.shape = shape;
    }

    /// Returns the engine that this tensor belongs to.
    public Engine engine() {
        return engine;
    }

    /// Returns the dtype of the elements.
    public DType dtype() {
        return dtype;
    }

    /// Returns a copy of the sizes; empty for a scalar.
    public long[] shape() {
        return shape.clone();
    }

    /// Returns the number of elements; 1 for a scalar.
    public long elements() {
        long elements = 1;
        for (long size : shape) {
            elements *= size;
        }
        return elements;
    }

    /// Returns the size of all elements in bytes.
    public long bytes() {
        return elements() * dtype.bytes();
    }

    /// Copies all values to `data`, row-major and little-endian. If this fails, `data` is unchanged.
    ///
    /// @param data Writable memory, exactly [#bytes()] long
    /// @throws ShapeMismatchException when the size of `data` differs
    /// @throws InvalidArgumentException when `data` is read-only
    public void copyToHost(MemorySegment data) {
        engine.copyToHost(this, dtype, data);
    }

    /// Copies all values of an F32 tensor.
    ///
    /// @param data Array of exactly [#elements()] values
    /// @throws DTypeMismatchException when this is not F32; see [#toFloats()]
    /// @throws ShapeMismatchException when the length of `data` differs
    public void copyToHost(float[] data) {
        engine.copyToHost(this, DType.F32, MemorySegment.ofArray(data));
    }

    /// Copies all values of an I32 tensor.
    ///
    /// @param data Array of exactly [#elements()] values
    /// @throws DTypeMismatchException when this is not I32
    /// @throws ShapeMismatchException when the length of `data` differs
    public void copyToHost(int[] data) {
        engine.copyToHost(this, DType.I32, MemorySegment.ofArray(data));
    }

    /// Copies all values of an I64 tensor.
    ///
    /// @param data Array of exactly [#elements()] values
    /// @throws DTypeMismatchException when this is not I64
    /// @throws ShapeMismatchException when the length of `data` differs
    public void copyToHost(long[] data) {
        engine.copyToHost(this, DType.I64, MemorySegment.ofArray(data));
    }

    /// Returns all values of a floating-point tensor as F32. Other dtypes are converted on the device,
    /// which is exact.
    ///
    /// @throws NotSupportedException when this is an integer tensor
    /// @throws InvalidArgumentException when there are more elements than an array can hold
    public float[] toFloats() {
        if (dtype != DType.F32) {
            try (DeviceTensor converted = convert(DType.F32)) {
                return converted.toFloats();
            }
        }
        if (elements() > Integer.MAX_VALUE - 8) {
            throw new InvalidArgumentException(this + ": has more elements than a Java array can hold", 0);
        }
        float[] values = new float[(int) elements()];
        copyToHost(values);
        return values;
    }

    /// Returns a new tensor with the values converted to another dtype. Conversion between
    /// floating-point dtypes rounds to nearest even; conversion between integer dtypes is exact where
    /// the values fit.
    ///
    /// @throws NotSupportedException between a floating-point and an integer dtype
    /// @throws EngineOutOfMemoryException when the new tensor does not fit in memory
    public DeviceTensor convert(DType to) {
        return engine.convert(this, to);
    }

    /// Fills a floating-point tensor with standard normal random numbers.
    ///
    /// Row r (first dimension) is a pure function of the engine's seed, `purpose`, `step`, `items[r]`
    /// and the position in the row. It does not depend on the batch, the device or the number of
    /// threads. The operation can be cancelled between rows.
    ///
    /// @param purpose Purpose of the numbers, 0 to 255, which keeps random streams separate
    /// @param step Training step or similar counter, 0 to 2^32 - 1
    /// @param items Index of the pair or image of each row, one per row, 0 to 2^56 - 1
    /// @throws ShapeMismatchException when the number of items differs from the number of rows
    /// @throws DTypeMismatchException when this is an integer tensor
    /// @throws InvalidArgumentException when a number is out of its range
    /// @throws CancelledException after [Engine#cancel()]; the values are then undefined
    public void fillNormal(int purpose, long step, long... items) {
        engine.fillNormal(this, purpose, step, items);
    }

    @Override
    void release(long id) {
        engine.close(Native::tensorClose, id, "smpo_tensor_close");
    }
}
