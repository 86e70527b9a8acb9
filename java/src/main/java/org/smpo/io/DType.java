package org.smpo.io;

import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// The element types of tensors, little-endian: those of the safetensors format, in the order by which its
/// reference implementation sorts tensors:
/// files are laid out by this order descending, which puts wide elements first and keeps every tensor aligned
/// to its element.
public enum DType {
    BOOL(8),
    F4(4),
    F6_E2M3(6),
    F6_E3M2(6),
    U8(8),
    I8(8),
    F8_E5M2(8),
    F8_E4M3(8),
    F8_E8M0(8),
    F8_E4M3FNUZ(8),
    F8_E5M2FNUZ(8),
    I16(16),
    U16(16),
    F16(16),
    BF16(16),
    I32(32),
    U32(32),
    F32(32),
    C64(64),
    F64(64),
    I64(64),
    U64(64);

    private static final Map<String, DType> BY_NAME =
            Stream.of(values()).collect(Collectors.toUnmodifiableMap(DType::name, Function.identity()));

    private final int bits;

    DType(int bits) {
        this.bits = bits;
    }

    /// Bits of one element. The types narrower than 8 bits are packed.
    public int bits() {
        return bits;
    }

    /// Bytes of one element.
    ///
    /// @throws ArithmeticException for a type narrower than a byte
    public int bytes() {
        return Math.toIntExact(bytes(1));
    }

    /// The type with the given name in a file's header, or null.
    static DType ofName(String name) {
        return BY_NAME.get(name);
    }

    /// Bytes of `elements` elements.
    ///
    /// @throws ArithmeticException when the number exceeds 2^63 − 1 bits or is not a whole number of bytes
    long bytes(long elements) {
        long total = Math.multiplyExact(elements, bits);
        if (total % 8 != 0) {
            throw new ArithmeticException(elements + " elements of " + bits + " bits end inside a byte");
        }
        return total / 8;
    }
}
