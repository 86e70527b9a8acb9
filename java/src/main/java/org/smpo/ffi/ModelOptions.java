package org.smpo.ffi;

import java.util.Objects;
import org.smpo.io.DType;

/// How a model is held.
///
/// @param precision F32 or BF16: of the weights that compute and of the activations
/// @param trainable whether every parameter has an f32 gradient, and an f32 master under bf16 weights
/// @param checkpointing whether backward runs each layer again instead of keeping its activations: less memory, more
///     time, the same bits. Of a UNet alone: other models have no backward pass here, and opening one with it throws
///     [NotSupportedException]
public record ModelOptions(DType precision, boolean trainable, boolean checkpointing) {

    /// The precision may not be null; the library checks that it is one that computes.
    public ModelOptions {
        Objects.requireNonNull(precision, "precision");
    }

    /// Weights that do not change, for inference or under adapters.
    public static ModelOptions frozen(DType precision) {
        return new ModelOptions(precision, false, false);
    }
}
