package org.smpo.network;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelConfig;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.Weight;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.NonFiniteException;
import org.smpo.io.Closer;
import org.smpo.io.DType;

/// Carries a component's weights from its files into the network that computes with them.
public final class NativeWeights {
    private NativeWeights() {}

    /// Fills a network that was just opened; closes it where that fails.
    ///
    /// @throws ModelException for a value that is NaN or infinite, naming the file and the tensor
    public static NativeModel fill(NativeModel model, Component component) throws IOException {
        Closer opened = new Closer();
        opened.add(model);
        try {
            for (Weight weight : component.weights().values()) {
                write(model, weight);
            }
            return model;
        } catch (IOException | RuntimeException e) {
            opened.closeAfter(e);
            throw e;
        }
    }

    public static void write(NativeModel model, Weight weight) throws IOException {
        try {
            switch (weight.dtype()) {
                case F32 -> model.write(weight.name(), DType.F32, weight.shape(), weight.buffer());
                case BF16 -> model.write(weight.name(), DType.BF16, weight.shape(), weight.buffer());
                case F16 -> model.write(weight.name(), DType.F16, weight.shape(), weight.buffer());
                default -> model.write(weight.name(), DType.F32, weight.shape(), narrowed(weight));
            }
        } catch (NonFiniteException e) {
            throw new ModelException(weight.origin() + ": " + e.getMessage());
        }
    }

    private static ByteBuffer narrowed(Weight weight) throws IOException {
        ByteBuffer floats =
                ByteBuffer.allocate(Math.toIntExact(4 * weight.elements())).order(ByteOrder.LITTLE_ENDIAN);
        weight.writeTo(DType.F32, floats::put);
        return floats.flip();
    }

    /// The component's config, which must be of that kind.
    static <C extends ModelConfig> C config(Component component, Class<C> kind) throws ModelException {
        if (!kind.isInstance(component.config())) {
            throw new ModelException(
                    component.config().json().source(),
                    component.name(),
                    "a config that reads as " + kind.getSimpleName(),
                    component.className());
        }
        return kind.cast(component.config());
    }
}
