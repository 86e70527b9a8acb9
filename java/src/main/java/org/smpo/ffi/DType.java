package org.smpo.ffi;

/// The element types of tensors that cross the border, little-endian. Values are the header's.
public enum DType {
    /// IEEE 754 binary32.
    F32(1, 4),
    /// The upper half of a binary32: 8 exponent bits, 7 mantissa bits.
    BF16(2, 2),
    /// IEEE 754 binary16.
    F16(3, 2),
    /// Signed 32-bit integer.
    I32(4, 4),
    /// Signed 64-bit integer.
    I64(5, 8);

    private final int code;
    private final int bytes;

    DType(int code, int bytes) {
        this.code = code;
        this.bytes = bytes;
    }

    /// Bytes of one element.
    public int bytes() {
        return bytes;
    }

    /// Whether this is F32, BF16 or F16.
    public boolean isFloating() {
        return this == F32 || this == BF16 || this == F16;
    }

    int code() {
        return code;
    }

    static DType of(int code) {
        for (DType dtype : values()) {
            if (dtype.code == code) {
                return dtype;
            }
        }
        throw new AssertionError("unknown element type " + code + " from the native library");
    }
}
