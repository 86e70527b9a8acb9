package org.smpo.ffi;

import org.smpo.io.DType;

/// What a model is and how much it holds.
///
/// @param kind of network
/// @param precision F32 or BF16
/// @param trainable whether its own parameters train
/// @param parameterCount parameters, those of adapters included
/// @param writtenCount how many of them have been given values
/// @param elements numbers in all parameters
/// @param bytes of weights, masters and gradients
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
