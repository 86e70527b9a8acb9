package org.smpo.ffi;

import org.smpo.io.DType;

/// The kind and the size of a model.
///
/// @param kind Kind of network
/// @param precision Dtype of the weights, F32 or BF16
/// @param trainable Whether the model's own parameters are trained
/// @param parameterCount Number of parameters, including those of adapters
/// @param writtenCount Number of parameters that have been given values
/// @param elements Number of elements in all parameters
/// @param bytes Size of weights, masters and gradients in bytes
public record ModelInfo(
        ModelKind kind,
        DType precision,
        boolean trainable,
        int parameterCount,
        int writtenCount,
        long elements,
        long bytes) {

    static ModelInfo read(Struct info) {
        return new ModelInfo(
                ModelKind.of(info.getInt("kind")),
                DTypeCode.dtype(info.getInt("precision")),
                info.getInt("trainable") != 0,
                info.getInt("parameter_count"),
                info.getInt("written_count"),
                info.getLong("elements"),
                info.getLong("bytes"));
    }
}
