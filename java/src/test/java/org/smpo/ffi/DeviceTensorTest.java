package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatNullPointerException;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.smpo.io.DType;

/// Tensors through the ABI: bits are preserved, conversions follow IEEE 754, and every invalid argument
/// is refused.
class DeviceTensorTest {
    private static final long[][] SHAPES = {{}, {0}, {1}, {7}, {2, 3}, {3, 0, 2}, {1, 2, 1, 3, 1, 2, 1, 2}};

    private Engine engine;

    @BeforeEach
    void open() {
        engine = Engine.open(EngineConfig.onCpu());
    }

    @AfterEach
    void close() {
        engine.close();
    }

    static Set<DType> engineTypes() {
        return DTypeCode.CODES.keySet();
    }

    @ParameterizedTest
    @MethodSource("engineTypes")
    void everyBitComesBack(DType dtype) {
        SplittableRandom random = new SplittableRandom(DTypeCode.of(dtype));
        try (Arena arena = Arena.ofConfined()) {
            for (long[] shape : SHAPES) {
                try (DeviceTensor zeros = engine.zeros(dtype, shape)) {
                    byte[] bytes = new byte[(int) zeros.bytes()];
                    Arrays.fill(bytes, (byte) 0x5a);
                    zeros.copyToHost(MemorySegment.ofArray(bytes));
                    assertThat(bytes).containsOnly(new byte[bytes.length == 0 ? 0 : 1]);

                    // Random bits, including NaNs with payloads, subnormals and infinities.
                    random.nextBytes(bytes);
                    MemorySegment offHeap = arena.allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
                    for (MemorySegment source : new MemorySegment[] {MemorySegment.ofArray(bytes), offHeap}) {
                        try (DeviceTensor tensor = engine.fromHost(dtype, source, shape)) {
                            assertThat(tensor.dtype()).isEqualTo(dtype);
                            assertThat(tensor.shape()).isEqualTo(shape);
                            byte[] onHeap = new byte[bytes.length];
                            tensor.copyToHost(MemorySegment.ofArray(onHeap));
                            assertThat(onHeap).isEqualTo(bytes);
                            MemorySegment target = arena.allocate(bytes.length);
                            tensor.copyToHost(target);
                            assertThat(target.mismatch(offHeap)).isEqualTo(-1);
                        }
                    }
                }
            }
        }
    }

    @Test
    void arraysRoundTrip() {
        float[] floats = {0f, -0f, 1.5f, Float.NaN, Float.NEGATIVE_INFINITY, Float.MIN_VALUE};
        int[] ints = {0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE, 7, 8};
        long[] longs = {0, -1, Long.MIN_VALUE, Long.MAX_VALUE, 7, 8};
        float[] floatsBack = new float[6];
        int[] intsBack = new int[6];
        long[] longsBack = new long[6];
        engine.fromHost(floats, 2, 3).copyToHost(floatsBack);
        engine.fromHost(ints, 2, 3).copyToHost(intsBack);
        engine.fromHost(longs, 2, 3).copyToHost(longsBack);
        assertThat(bits(floatsBack)).isEqualTo(bits(floats));
        assertThat(intsBack).isEqualTo(ints);
        assertThat(longsBack).isEqualTo(longs);
        assertThat(bits(engine.fromHost(floats, 6).toFloats())).isEqualTo(bits(floats));
        // The comparison of bits detects the sign of a zero.
        assertThat(bits(new float[] {-0f})).isNotEqualTo(bits(new float[] {0f}));
    }

    @Test
    void theTensorIsACopy() {
        float[] values = {1, 2};
        long[] shape = {2};
        DeviceTensor tensor = engine.fromHost(values, shape);
        values[0] = 9;
        shape[0] = 9;
        tensor.shape()[0] = 9;
        assertThat(tensor.toFloats()).containsExactly(1, 2);
        assertThat(tensor.shape()).containsExactly(2);
    }

    /// More than the session's staging buffer, so that memory is allocated and freed.
    @Test
    void largeArraysRoundTrip() {
        int[] values = new int[(int) (Staging.KEPT / 4) + 3];
        Arrays.setAll(values, i -> i * 31);
        int[] back = new int[values.length];
        for (int i = 0; i < 3; i++) {
            try (DeviceTensor tensor = engine.fromHost(values, values.length)) {
                tensor.copyToHost(back);
            }
            assertThat(Arrays.equals(back, values)).isTrue();
            Arrays.fill(back, 0);
        }
    }

    @Test
    void everyHalfBecomesTheFloatThatItIs() {
        short[] halves = new short[1 << 16];
        for (int i = 0; i < halves.length; i++) {
            halves[i] = (short) i;
        }
        float[] fromF16 = floats(DType.F16, halves);
        float[] fromBf16 = floats(DType.BF16, halves);
        for (int i = 0; i < halves.length; i++) {
            assertSameFloat(fromF16[i], Float.float16ToFloat(halves[i]), i);
            assertSameFloat(fromBf16[i], Float.intBitsToFloat(i << 16), i);
        }
    }

    @Test
    void floatsAreRoundedToNearestEven() {
        float[] floats = new float[1 << 16];
        SplittableRandom random = new SplittableRandom(11);
        for (int i = 0; i < floats.length; i++) {
            int bits = random.nextInt();
            // A quarter lie exactly halfway between two bfloat16 numbers, a quarter near 1, where
            // binary16 is normal.
            floats[i] = switch (i % 4) {
                case 0 -> Float.intBitsToFloat((bits & 0xffff0000) | 0x8000);
                case 1 -> 1 + random.nextInt(1 << 12) / (float) (1 << 11) / 1024;
                default -> Float.intBitsToFloat(bits);
            };
        }
        short[] toF16 = new short[floats.length];
        short[] toBf16 = new short[floats.length];
        try (DeviceTensor tensor = engine.fromHost(floats, floats.length);
                DeviceTensor f16 = tensor.convert(DType.F16);
                DeviceTensor bf16 = tensor.convert(DType.BF16)) {
            f16.copyToHost(MemorySegment.ofArray(toF16));
            bf16.copyToHost(MemorySegment.ofArray(toBf16));
        }
        for (int i = 0; i < floats.length; i++) {
            assertSameFloat(Float.float16ToFloat(toF16[i]), Float.float16ToFloat(Float.floatToFloat16(floats[i])), i);
            assertSameFloat(Float.intBitsToFloat(toBf16[i] << 16), roundedToBfloat16(floats[i]), i);
        }
        // The reference itself: ties round to the even neighbour, up and down.
        assertThat(roundedToBfloat16(Float.intBitsToFloat(0x3f808000))).isEqualTo(1f);
        assertThat(roundedToBfloat16(Float.intBitsToFloat(0x3f818000))).isEqualTo(Float.intBitsToFloat(0x3f820000));
        assertThat(roundedToBfloat16(Float.MAX_VALUE)).isInfinite();
    }

    @Test
    void integersConvertWhenTheyFit() {
        long[] values = {0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE};
        int[] narrow = new int[4];
        long[] wide = new long[4];
        DeviceTensor converted = engine.fromHost(values, 4).convert(DType.I32);
        converted.copyToHost(narrow);
        converted.convert(DType.I64).copyToHost(wide);
        assertThat(narrow).containsExactly(0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE);
        assertThat(wide).isEqualTo(values);
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> engine.fromHost(new long[] {1L << 31}, 1).convert(DType.I32))
                .withMessageContaining("2147483648");
    }

    @Test
    void nothingConvertsBetweenFloatsAndIntegers() {
        DeviceTensor ints = engine.zeros(DType.I32, 2);
        DeviceTensor floats = engine.zeros(DType.BF16, 2);
        assertThatExceptionOfType(NotSupportedException.class).isThrownBy(() -> ints.convert(DType.F32));
        assertThatExceptionOfType(NotSupportedException.class).isThrownBy(() -> floats.convert(DType.I64));
        assertThatExceptionOfType(NotSupportedException.class).isThrownBy(ints::toFloats);
        assertThat(engine.statistics().openTensors()).isEqualTo(2);
    }

    @Test
    void normalNumbersDependOnTheirKeyOnly() {
        DeviceTensor three = engine.zeros(DType.F32, 3, 50, 20);
        three.fillNormal(5, 70, 10, 11, 12);
        float[] all = three.toFloats();
        DeviceTensor one = engine.zeros(DType.F32, 1, 1000);
        one.fillNormal(5, 70, 11);
        assertThat(bits(one.toFloats())).isEqualTo(bits(Arrays.copyOfRange(all, 1000, 2000)));
        try (Engine sameSeed = Engine.open(EngineConfig.onCpu().withThreads(1));
                Engine otherSeed = Engine.open(EngineConfig.onCpu().withSeed(1))) {
            DeviceTensor same = sameSeed.zeros(DType.F32, 1, 1000);
            same.fillNormal(5, 70, 11);
            assertThat(bits(same.toFloats())).isEqualTo(bits(one.toFloats()));
            DeviceTensor other = otherSeed.zeros(DType.F32, 1, 1000);
            other.fillNormal(5, 70, 11);
            assertThat(bits(other.toFloats())).isNotEqualTo(bits(one.toFloats()));
        }
        float[] before = one.toFloats();
        one.fillNormal(6, 70, 11);
        assertThat(bits(one.toFloats())).isNotEqualTo(bits(before));
        one.fillNormal(5, 71, 11);
        assertThat(bits(one.toFloats())).isNotEqualTo(bits(before));
        one.fillNormal(5, 70, (1L << 56) - 1);
        assertThat(bits(one.toFloats())).isNotEqualTo(bits(before));
    }

    @Test
    void normalNumbersAreNormal() {
        int count = 1 << 18;
        DeviceTensor tensor = engine.zeros(DType.F32, 4, count / 4);
        tensor.fillNormal(0, 0, 0, 1, 2, 3);
        double sum = 0;
        double squares = 0;
        for (float value : tensor.toFloats()) {
            sum += value;
            squares += (double) value * value;
        }
        // Five standard deviations of the mean, and of the mean square (whose variance is 2 / count).
        assertThat(Math.abs(sum / count)).isLessThan(5 / Math.sqrt(count));
        assertThat(Math.abs(squares / count - 1)).isLessThan(5 * Math.sqrt(2.0 / count));
    }

    @Test
    void aWrongSizeIsRefused() {
        DeviceTensor tensor = engine.zeros(DType.F32, 2, 3);
        for (Runnable call : new Runnable[] {
            () -> engine.fromHost(new float[5], 2, 3),
            () -> engine.fromHost(new float[0]),
            () -> engine.fromHost(new int[7], 2, 3),
            () -> engine.fromHost(new long[1], 0),
            () -> engine.fromHost(DType.BF16, MemorySegment.ofArray(new byte[3]), 2),
            () -> engine.fromHost(DType.BF16, MemorySegment.NULL, 2),
            () -> tensor.copyToHost(new float[5]),
            () -> tensor.copyToHost(new float[7]),
            () -> tensor.copyToHost(MemorySegment.ofArray(new byte[23])),
            () -> tensor.copyToHost(MemorySegment.NULL),
            () -> tensor.fillNormal(0, 0),
            () -> tensor.fillNormal(0, 0, 1),
            () -> tensor.fillNormal(0, 0, 1, 2, 3),
            () -> engine.zeros(DType.F32).fillNormal(0, 0, 1)
        }) {
            assertThatExceptionOfType(ShapeMismatchException.class)
                    .isThrownBy(call::run)
                    .withMessageContaining("expected")
                    .withMessageContaining("got");
        }
    }

    @Test
    void aWrongTypeIsRefused() {
        DeviceTensor ints = engine.zeros(DType.I32, 2);
        DeviceTensor floats = engine.zeros(DType.F32, 2);
        for (Runnable call : new Runnable[] {
            () -> ints.copyToHost(new float[2]),
            () -> ints.copyToHost(new long[2]),
            () -> floats.copyToHost(new int[2]),
            () -> floats.copyToHost(new long[2]),
            () -> engine.zeros(DType.BF16, 2).copyToHost(new float[2]),
            () -> ints.fillNormal(0, 0, 1, 2)
        }) {
            assertThatExceptionOfType(DTypeMismatchException.class)
                    .isThrownBy(call::run)
                    .withMessageContaining("expected")
                    .withMessageContaining("got");
        }
    }

    @Test
    void aValueOutOfRangeIsRefused() {
        DeviceTensor tensor = engine.zeros(DType.F32, 1);
        for (Runnable call : new Runnable[] {
            () -> engine.zeros(DType.F32, -1),
            () -> engine.zeros(DType.F32, 1, 2, 3, 4, 5, 6, 7, 8, 9),
            () -> engine.zeros(DType.I64, Long.MAX_VALUE, Long.MAX_VALUE),
            () -> engine.zeros(DType.I64, Long.MAX_VALUE, Long.MAX_VALUE, 0),
            () -> engine.fromHost(new float[1], -1),
            () -> engine.fromHost(new float[1], 1, Long.MIN_VALUE),
            () -> tensor.fillNormal(-1, 0, 0),
            () -> tensor.fillNormal(256, 0, 0),
            () -> tensor.fillNormal(0, -1, 0),
            () -> tensor.fillNormal(0, 1L << 32, 0),
            () -> tensor.fillNormal(0, 0, -1),
            () -> tensor.fillNormal(0, 0, 1L << 56),
            () -> tensor.copyToHost(MemorySegment.ofArray(new float[1]).asReadOnly())
        }) {
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(call::run)
                    .withMessageContaining("expected")
                    .withMessageContaining("got");
        }
        assertThat(engine.statistics().openTensors()).isEqualTo(1);
    }

    @Test
    void nullIsRefused() {
        DeviceTensor tensor = engine.zeros(DType.F32, 1);
        for (Runnable call : new Runnable[] {
            () -> engine.zeros(null, 1),
            () -> engine.zeros(DType.F32, (long[]) null),
            () -> engine.fromHost((float[]) null, 1),
            () -> engine.fromHost((int[]) null, 1),
            () -> engine.fromHost((long[]) null, 1),
            () -> engine.fromHost(new float[1], (long[]) null),
            () -> engine.fromHost(null, MemorySegment.NULL, 1),
            () -> engine.fromHost(DType.F32, null, 1),
            () -> tensor.convert(null),
            () -> tensor.fillNormal(0, 0, (long[]) null),
            () -> tensor.copyToHost((float[]) null),
            () -> tensor.copyToHost((int[]) null),
            () -> tensor.copyToHost((long[]) null),
            () -> tensor.copyToHost((MemorySegment) null)
        }) {
            assertThatNullPointerException().isThrownBy(call::run);
        }
        assertThat(tensor.toFloats()).containsExactly(0f);
    }

    @Test
    void anAllocationThatDoesNotFitLeavesTheEngineUsable() {
        assertThatExceptionOfType(EngineOutOfMemoryException.class).isThrownBy(() -> engine.zeros(DType.F32, 1L << 50));
        assertThat(engine.zeros(DType.F32, 2).toFloats()).containsExactly(0f, 0f);
    }

    /// Java refuses memory that is freed or owned by another thread before the library reads it.
    @Test
    void memoryThatCannotBeTouchedIsRefused() throws InterruptedException {
        Arena closed = Arena.ofConfined();
        MemorySegment gone = closed.allocate(8);
        closed.close();
        DeviceTensor tensor = engine.zeros(DType.F32, 2);
        assertThatExceptionOfType(IllegalStateException.class).isThrownBy(() -> tensor.copyToHost(gone));
        assertThatExceptionOfType(IllegalStateException.class).isThrownBy(() -> engine.fromHost(DType.F32, gone, 2));

        MemorySegment[] foreign = new MemorySegment[1];
        Thread thread = new Thread(() -> foreign[0] = Arena.ofConfined().allocate(8));
        thread.start();
        thread.join();
        assertThatExceptionOfType(WrongThreadException.class).isThrownBy(() -> tensor.copyToHost(foreign[0]));
        assertThatExceptionOfType(WrongThreadException.class)
                .isThrownBy(() -> engine.fromHost(DType.F32, foreign[0], 2));
        assertThat(tensor.toFloats()).containsExactly(0f, 0f);
    }

    @Test
    void mappedFilesAreRead(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("values");
        MemorySegment values = MemorySegment.ofArray(new float[] {1, 2, 3, 4});
        Files.write(file, values.toArray(JAVA_BYTE));
        try (Arena arena = Arena.ofConfined();
                FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MemorySegment mapped = channel.map(MapMode.READ_WRITE, 0, 16, arena);
            DeviceTensor tensor = engine.fromHost(DType.F32, mapped, 4);
            assertThat(tensor.toFloats()).containsExactly(1, 2, 3, 4);
            engine.fromHost(new float[] {5, 6}, 2).copyToHost(mapped.asSlice(8, 8));
            assertThat(mapped.toArray(JAVA_FLOAT)).containsExactly(1, 2, 5, 6);
            MemorySegment readOnly = channel.map(MapMode.READ_ONLY, 0, 16, arena);
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(() -> tensor.copyToHost(readOnly))
                    .withMessageContaining("read-only");
        }
    }

    /// Another process truncates the mapped file, which inside the library would cause a bus error.
    @Test
    void aFileThatShrinksIsAnExceptionAndNoCrash(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("shrinking");
        int bytes = 1 << 20;
        Files.write(file, new byte[bytes]);
        try (Arena arena = Arena.ofConfined();
                FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MemorySegment mapped = channel.map(MapMode.READ_WRITE, 0, bytes, arena);
            DeviceTensor tensor = engine.zeros(DType.F16, bytes / 2);
            channel.truncate(0);
            assertThatExceptionOfType(InternalError.class)
                    .isThrownBy(() -> engine.fromHost(DType.F16, mapped, bytes / 2));
            assertThatExceptionOfType(InternalError.class).isThrownBy(() -> tensor.copyToHost(mapped));
            short[] back = new short[bytes / 2];
            tensor.copyToHost(MemorySegment.ofArray(back));
            assertThat(MemorySegment.ofArray(back).get(JAVA_SHORT, 0)).isZero();
        }
    }

    private float[] floats(DType dtype, short[] bits) {
        try (DeviceTensor tensor = engine.fromHost(dtype, MemorySegment.ofArray(bits), bits.length)) {
            return tensor.toFloats();
        }
    }

    private static float roundedToBfloat16(float value) {
        if (Float.isNaN(value)) {
            return value;
        }
        int bits = Float.floatToRawIntBits(value);
        int rounded = bits + 0x7fff + ((bits >>> 16) & 1);
        return Float.intBitsToFloat(rounded & 0xffff0000);
    }

    /// Equal bits, or both NaN: a NaN's payload may change on its way through another type.
    private static void assertSameFloat(float actual, float expected, int index) {
        if (!(Float.isNaN(actual) && Float.isNaN(expected))) {
            assertThat(Float.floatToRawIntBits(actual))
                    .as("value %d", index)
                    .isEqualTo(Float.floatToRawIntBits(expected));
        }
    }

    private static int[] bits(float[] values) {
        int[] bits = new int[values.length];
        Arrays.setAll(bits, i -> Float.floatToRawIntBits(values[i]));
        return bits;
    }
}
