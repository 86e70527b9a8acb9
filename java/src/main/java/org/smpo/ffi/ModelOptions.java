package org.smpo.ffi;

import java.util.Objects;
import org.smpo.io.DType;

/// The options that a model is opened with.
///
/// @param precision Dtype of the computing weights and of the activations, F32 or BF16
/// @param trainable Whether every parameter has an f32 gradient, and an f32 master if the weights are
///     bf16
/// @param checkpointing Whether the backward pass runs each layer again instead of keeping its
///     activations: less memory, more time, the same bits. Only a UNet supports this: other models have
///     no training here, and opening one with this option throws [NotSupportedException].
public record ModelOptions(DType precision, boolean trainable, boolean checkpointing) {

    /// Checks that the precision is not null. The library checks that it can compute in this precision.
    public ModelOptions {
        Objects.requireNonNull(precision, "precision");
    }

    /// Returns options for weights that do not change, for inference or under adapters.
    public static ModelOptions frozen(DType precision) {
        return new ModelOptions(precision, false, false);
    }
}
