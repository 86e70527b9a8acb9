package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.smpo.io.DType;

final class FloatsTest {
    private static ByteBuffer buffer(int bytes) {
        return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static double convert(DType target, double value) {
        ByteBuffer from = buffer(8).putDouble(0, value);
        ByteBuffer to = buffer(8);
        Floats.convert(DType.F64, from, target, to, 1);
        return Floats.get(target, to, 0);
    }

    private static double fromFloat(DType target, float value) {
        ByteBuffer from = buffer(4).putFloat(0, value);
        ByteBuffer to = buffer(8);
        Floats.convert(DType.F32, from, target, to, 1);
        return Floats.get(target, to, 0);
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F16", "BF16"})
    void everySixteenBitNumberSurvivesThroughFloat(DType dtype) {
        int changed = 0;
        for (int bits = 0; bits < 1 << 16; bits++) {
            ByteBuffer narrow = buffer(2).putShort(0, (short) bits);
            ByteBuffer wide = buffer(4);
            ByteBuffer back = buffer(2);
            Floats.convert(dtype, narrow, DType.F32, wide, 1);
            Floats.convert(DType.F32, wide, dtype, back, 1);
            boolean nan = Double.isNaN(Floats.get(dtype, narrow, 0));
            boolean same = nan ? Double.isNaN(Floats.get(dtype, back, 0)) : back.getShort(0) == narrow.getShort(0);
            changed += same ? 0 : 1;
        }
        assertThat(changed).isZero();
    }

    /// bf16 has 8 significant bits, so 256 + odd halves lie between two numbers; fp16 has 11.
    @Test
    void halvesGoToTheEvenNeighbour() {
        assertThat(fromFloat(DType.BF16, 257f)).isEqualTo(256);
        assertThat(fromFloat(DType.BF16, 259f)).isEqualTo(260);
        assertThat(fromFloat(DType.BF16, Math.nextUp(257f))).isEqualTo(258);
        assertThat(fromFloat(DType.BF16, -257f)).isEqualTo(-256);
        assertThat(fromFloat(DType.F16, 2049f)).isEqualTo(2048);
        assertThat(fromFloat(DType.F16, 2051f)).isEqualTo(2052);
        assertThat(fromFloat(DType.F16, Math.nextUp(2049f))).isEqualTo(2050);
        assertThat(fromFloat(DType.F16, 0x1p-25f)).isZero();
        assertThat(fromFloat(DType.F16, Math.nextUp(0x1p-25f))).isEqualTo(0x1p-24);
    }

    /// Rounded to float first, these would be halves and go the wrong way.
    @Test
    void doublesAreRoundedOnce() {
        assertThat(convert(DType.BF16, Math.nextUp(257.0))).isEqualTo(258);
        assertThat(convert(DType.BF16, Math.nextDown(259.0))).isEqualTo(258);
        assertThat(convert(DType.F16, Math.nextUp(2049.0))).isEqualTo(2050);
        assertThat(convert(DType.F16, Math.nextDown(2051.0))).isEqualTo(2050);
        assertThat(convert(DType.F16, -Math.nextUp(2049.0))).isEqualTo(-2050);
    }

    @Test
    void numbersOutOfRangeAreReportedAndInfinitiesAreNot() {
        ByteBuffer from =
                buffer(16).putFloat(0, 1f).putFloat(4, Float.POSITIVE_INFINITY).putFloat(8, 65520f);
        assertThat(Floats.convert(DType.F32, from, DType.F16, buffer(8), 3)).isEqualTo(2);
        from.putFloat(8, 65519f);
        assertThat(Floats.convert(DType.F32, from, DType.F16, buffer(8), 3)).isEqualTo(-1);
        assertThat(Floats.convert(DType.F32, buffer(4).putFloat(0, Float.MAX_VALUE), DType.BF16, buffer(2), 1))
                .isZero();
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F16", "BF16", "F32", "F64"})
    void nonFiniteNumbersAreFound(DType dtype) {
        for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
            ByteBuffer from = buffer(32)
                    .putDouble(0, 1)
                    .putDouble(8, -2)
                    .putDouble(16, bad)
                    .putDouble(24, 0);
            ByteBuffer to = buffer(32);
            Floats.convert(DType.F64, from, dtype, to, 4);
            assertThat(Floats.firstNonFinite(dtype, to, 4)).isEqualTo(2);
            assertThat(Floats.firstNonFinite(dtype, to, 2)).isEqualTo(-1);
        }
    }
}
