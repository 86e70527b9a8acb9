package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// Opening and closing leaves nothing behind: the process's resident memory is the same after ten thousand
/// cycles.
class GrowthTest {
    /// What the process may grow by. Java's own heap and code cache move by some MiB; a leak of what these
    /// tests open would be far more, as [#growthIsNoticed] shows.
    private static final long BOUND = 48L << 20;

    private static final int TENSOR_CYCLES = 10_000;
    private static final int ENGINE_CYCLES = 2_000;

    /// 64 KiB each: 10,000 of them leaked would be 625 MiB.
    private static final int TENSOR_ELEMENTS = 1 << 14;

    @Test
    void tensors() throws IOException {
        float[] values = new float[TENSOR_ELEMENTS];
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            long grown = growth(TENSOR_CYCLES, () -> {
                try (DeviceTensor zeros = engine.zeros(DType.F32, TENSOR_ELEMENTS);
                        DeviceTensor copy = engine.fromHost(values, TENSOR_ELEMENTS);
                        DeviceTensor half = copy.convert(DType.BF16)) {
                    zeros.copyToHost(values);
                    half.isClosed();
                }
            });
            assertThat(grown).isLessThan(BOUND);
            assertThat(engine.statistics().openTensors()).isZero();
        }
    }

    @Test
    void engines() throws IOException {
        assertThat(growth(ENGINE_CYCLES, () -> {
                    DeviceTensor tensor;
                    try (Engine engine = Engine.open(EngineConfig.onCpu())) {
                        tensor = engine.zeros(DType.F32, TENSOR_ELEMENTS);
                        engine.drainLog();
                    }
                    // Closed by its engine, and no garbage before that.
                    assertThat(tensor.isClosed()).isTrue();
                }))
                .isLessThan(BOUND);
    }

    @Test
    void failures() throws IOException {
        try (Engine engine = Engine.open(EngineConfig.onCpu());
                DeviceTensor tensor = engine.zeros(DType.F32, TENSOR_ELEMENTS)) {
            float[] wrong = new float[TENSOR_ELEMENTS + 1];
            assertThat(growth(
                            TENSOR_CYCLES,
                            () -> assertThatExceptionOfType(ShapeMismatchException.class)
                                    .isThrownBy(() -> tensor.copyToHost(wrong))))
                    .isLessThan(BOUND);
        }
    }

    /// The measure sees a leak: a tenth of the cycles without closing exceed the bound.
    @Test
    void growthIsNoticed() throws IOException {
        List<DeviceTensor> kept = new ArrayList<>();
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            float[] values = new float[TENSOR_ELEMENTS];
            assertThat(growth(TENSOR_CYCLES / 10, () -> kept.add(engine.fromHost(values, TENSOR_ELEMENTS))))
                    .isGreaterThan(BOUND);
        }
    }

    /// Bytes of resident memory that `cycles` rounds added, after a fifth as many to warm up.
    private static long growth(int cycles, Runnable cycle) throws IOException {
        for (int i = 0; i < cycles / 5; i++) {
            cycle.run();
        }
        long before = residentBytes();
        for (int i = 0; i < cycles; i++) {
            cycle.run();
        }
        return residentBytes() - before;
    }

    private static long residentBytes() throws IOException {
        System.gc();
        try (Stream<String> status = Files.lines(Path.of("/proc/self/status"))) {
            String line = status.filter(l -> l.startsWith("VmRSS:")).findFirst().orElseThrow();
            return Long.parseLong(line.replaceAll("\\D", "")) << 10;
        }
    }
}
