package org.smpo.ffi;

import java.util.List;
import org.smpo.io.DType;

/// One parameter of a model.
///
/// @param name Name as in a diffusers checkpoint; for an adapter `MODULE.lora_A.weight` or
///     `MODULE.lora_B.weight`
/// @param dtype Dtype in which the values are read without rounding
/// @param shape Sizes, outermost first
/// @param trainable Whether the parameter has a gradient
/// @param written Whether the parameter has been given values
public record ParameterInfo(String name, DType dtype, List<Long> shape, boolean trainable, boolean written) {

    /// Keeps a copy of the shape.
    public ParameterInfo {
        shape = List.copyOf(shape);
    }

    /// Number of elements.
    public long elements() {
        return shape.stream().mapToLong(Long::longValue).reduce(1, Math::multiplyExact);
    }

    static ParameterInfo read(Struct info) {
        return new ParameterInfo(
                info.getString("name"),
                DTypeCode.dtype(info.getInt("dtype")),
                info.getLongs("shape", info.getInt("rank")),
                info.getInt("trainable") != 0,
                info.getInt("written") != 0);
    }
}
