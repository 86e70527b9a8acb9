package org.smpo.ffi;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Locale;
import org.smpo.io.DType;

/// A tensor in the memory of an engine's device: an element type, a shape, row-major values.
///
/// Made by an [Engine], and closed by whoever asked for it, or with the engine. Belongs to the engine's thread.
/// The type and the shape never change; they may be read from any thread, also when it is closed.
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

    /// The engine that it belongs to.
    public Engine engine() {
        return engine;
    }

    /// Type of each element.
    public DType dtype() {
        return dtype;
    }

    /// A copy of the sizes; empty for a scalar.
    public long[] shape() {
        return shape.clone();
    }

    /// Number of elements; 1 for a scalar.
    public long elements() {
        long elements = 1;
        for (long size : shape) {
            elements *= size;
        }
        return elements;
    }

    /// Bytes of all elements.
    public long bytes() {
        return elements() * dtype.bytes();
    }

    /// Copies all values to `data`, row-major and little-endian. On a failure `data` is unchanged.
    ///
    /// @param data writable, exactly [#bytes()] long
    /// @throws ShapeMismatchException when `data` has another size
    /// @throws InvalidArgumentException when `data` is read-only
    public void copyToHost(MemorySegment data) {
        engine.copyToHost(this, dtype, data);
    }

    /// Copies all values of an F32 tensor.
    ///
    /// @param data exactly [#elements()] long
    /// @throws DTypeMismatchException when this is not F32; see [#toFloats()]
    /// @throws ShapeMismatchException when `data` has another length
    public void copyToHost(float[] data) {
        engine.copyToHost(this, DType.F32, MemorySegment.ofArray(data));
    }

    /// Copies all values of an I32 tensor.
    ///
    /// @param data exactly [#elements()] long
    /// @throws DTypeMismatchException when this is not I32
    /// @throws ShapeMismatchException when `data` has another length
    public void copyToHost(int[] data) {
        engine.copyToHost(this, DType.I32, MemorySegment.ofArray(data));
    }

    /// Copies all values of an I64 tensor.
    ///
    /// @param data exactly [#elements()] long
    /// @throws DTypeMismatchException when this is not I64
    /// @throws ShapeMismatchException when `data` has another length
    public void copyToHost(long[] data) {
        engine.copyToHost(this, DType.I64, MemorySegment.ofArray(data));
    }

    /// All values of a floating tensor, converted to F32 on the device if they are not, which is exact.
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

    /// A new tensor with the values in another type: rounded to nearest even between floating types, exact where
    /// the values fit between integer types.
    ///
    /// @throws NotSupportedException between a floating and an integer type
    /// @throws EngineOutOfMemoryException when it does not fit
    public DeviceTensor convert(DType to) {
        return engine.convert(this, to);
    }

    /// Fills a floating tensor with standard normal numbers.
    ///
    /// Row r (first dimension) is a pure function of the engine's seed, `purpose`, `step`, `items[r]` and the
    /// position in the row. It depends neither on the batch, nor on the device, nor on threads. Can be cancelled
    /// between rows.
    ///
    /// @param purpose what the numbers are for, 0 to 255: keeps streams apart
    /// @param step training step or the like, 0 to 2^32 - 1
    /// @param items one per row, 0 to 2^56 - 1: which pair or image the row belongs to
    /// @throws ShapeMismatchException when there is not one item per row
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
