package org.smpo.ffi;

import java.util.List;

/// One tensor of an optimizer's state, F32.
///
/// @param name Name: `exp_avg.PARAMETER`, `exp_avg_sq.PARAMETER`, Adafactor's `exp_avg_sq_row.PARAMETER`
///     and `exp_avg_sq_col.PARAMETER`, or `ema.PARAMETER`
/// @param shape Sizes, outermost first
public record StateInfo(String name, List<Long> shape) {

    /// Keeps a copy of the shape.
    public StateInfo {
        shape = List.copyOf(shape);
    }

    /// Number of elements.
    public long elements() {
        return shape.stream().mapToLong(Long::longValue).reduce(1, Math::multiplyExact);
    }

    static StateInfo read(Struct info) {
        return new StateInfo(info.getString("name"), info.getLongs("shape", info.getInt("rank")));
    }
}
