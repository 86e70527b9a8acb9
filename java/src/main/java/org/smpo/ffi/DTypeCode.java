package org.smpo.ffi;

import java.util.EnumMap;
import java.util.Map;
import org.smpo.io.DType;

/// The header's codes for the dtypes that an engine's tensors can have.
final class DTypeCode {
    static final Map<DType, Integer> CODES =
            new EnumMap<>(Map.of(DType.F32, 1, DType.BF16, 2, DType.F16, 3, DType.I32, 4, DType.I64, 5));

    private DTypeCode() {}

    /// Returns the code of a dtype.
    ///
    /// @throws IllegalArgumentException for a dtype that exists only in files
    static int of(DType dtype) {
        Integer code = CODES.get(dtype);
        if (code == null) {
            throw new IllegalArgumentException("dtype: expected one of " + CODES.keySet() + ", got " + dtype);
        }
        return code;
    }

    /// Returns the dtype of a code that the library returned.
    static DType dtype(int code) {
        for (Map.Entry<DType, Integer> entry : CODES.entrySet()) {
            if (entry.getValue() == code) {
                return entry.getKey();
            }
        }
        throw new AssertionError("unknown dtype " + code + " from the native library");
    }
}
