package org.smpo.checkpoint;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.EnumSet;
import java.util.Set;
import org.smpo.io.DType;

/// Conversion between the float types of model files; narrowing rounds to the nearest, ties to even.
final class Floats {
    /// The dtypes of parameters.
    static final Set<DType> TYPES = EnumSet.of(DType.F16, DType.BF16, DType.F32, DType.F64);

    private Floats() {}

    /// Element `i` of a buffer of elements.
    static double get(DType dtype, ByteBuffer from, int i) {
        return switch (dtype) {
            case F16 -> Float.float16ToFloat(from.getShort(2 * i));
            case BF16 -> Float.intBitsToFloat(from.getShort(2 * i) << 16);
            case F32 -> from.getFloat(4 * i);
            case F64 -> from.getDouble(8 * i);
            default -> throw new IllegalArgumentException(dtype + " is no float type of model files");
        };
    }

    /// Converts `count` elements from the start of `from` to the start of `to`; both little-endian.
    ///
    /// @return the first element that was finite and no longer is, or −1
    static int convert(DType source, ByteBuffer from, DType target, ByteBuffer to, int count) {
        from.order(ByteOrder.LITTLE_ENDIAN);
        to.order(ByteOrder.LITTLE_ENDIAN);
        int lost = -1;
        for (int i = 0; i < count; i++) {
            double wide = get(source, from, i);
            boolean finite;
            switch (target) {
                case F64 -> {
                    to.putDouble(8 * i, wide);
                    finite = true;
                }
                case F32 -> {
                    to.putFloat(4 * i, (float) wide);
                    finite = Float.isFinite((float) wide);
                }
                case F16 -> {
                    short half = half(wide);
                    to.putShort(2 * i, half);
                    finite = (half & 0x7c00) != 0x7c00;
                }
                case BF16 -> {
                    short brain = brain(wide);
                    to.putShort(2 * i, brain);
                    finite = (brain & 0x7f80) != 0x7f80;
                }
                default -> throw new IllegalArgumentException(target + " is no float type of model files");
            }
            if (lost < 0 && !finite && Double.isFinite(wide)) {
                lost = i;
            }
        }
        return lost;
    }

    /// The nearest half-precision number. The double is first rounded to odd in float, so that rounding to
    /// nearest happens once.
    private static short half(double wide) {
        return Float.floatToFloat16(toOdd(wide));
    }

    private static short brain(double wide) {
        int bits = Float.floatToRawIntBits(toOdd(wide));
        if ((bits & 0x7fffffff) > 0x7f800000) {
            return (short) ((bits >> 16) | 0x40); // keeps a NaN one, whose payload may lie in the lower half
        }
        return (short) ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }

    /// The double rounded to odd: a float whose last bit is set where it is inexact.
    private static float toOdd(double wide) {
        float near = (float) wide;
        if (near == wide || Double.isNaN(wide)) {
            return near;
        }
        if (Float.isInfinite(near)) {
            return Double.isInfinite(wide) ? near : Math.copySign(Float.MAX_VALUE, near);
        }
        int bits = Float.floatToRawIntBits(near);
        float towardsZero = Math.abs((double) near) > Math.abs(wide) ? Float.intBitsToFloat(bits - 1) : near;
        return Float.intBitsToFloat(Float.floatToRawIntBits(towardsZero) | 1);
    }

    /// The first element that is NaN or infinite, or −1.
    static int firstNonFinite(DType dtype, ByteBuffer from, int count) {
        from.order(ByteOrder.LITTLE_ENDIAN);
        return switch (dtype) {
            case F16 -> firstSaturated16(from, count, 0x7c00);
            case BF16 -> firstSaturated16(from, count, 0x7f80);
            case F32 -> {
                int i = 0;
                while (i < count && (from.getInt(4 * i) & 0x7f800000) != 0x7f800000) {
                    i++;
                }
                yield i < count ? i : -1;
            }
            case F64 -> {
                int i = 0;
                while (i < count && Double.isFinite(from.getDouble(8 * i))) {
                    i++;
                }
                yield i < count ? i : -1;
            }
            default -> -1;
        };
    }

    private static int firstSaturated16(ByteBuffer from, int count, int exponent) {
        for (int i = 0; i < count; i++) {
            if ((from.getShort(2 * i) & exponent) == exponent) {
                return i;
            }
        }
        return -1;
    }
}
