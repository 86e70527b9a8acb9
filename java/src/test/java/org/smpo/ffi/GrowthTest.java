package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.smpo.io.DType;

/// Opening and closing leaks nothing: resident memory is the same after ten thousand cycles.
///
/// Each measurement runs in its own Java process with a fixed heap that is touched beforehand, so that
/// only native memory can grow (and a few MiB of compiled code and class data).
class GrowthTest {
    /// Allowed growth of a process in bytes.
    private static final long BOUND = 32L << 20;

    private static final int TENSOR_CYCLES = 10_000;
    private static final int ENGINE_CYCLES = 2_000;

    /// 64 KiB each: 10,000 of them leaked would be 625 MiB, 2,000 of them 125 MiB.
    private static final int TENSOR_ELEMENTS = 1 << 14;

    @Test
    void tensors() throws IOException, InterruptedException {
        assertThat(growthOf("tensors")).isLessThan(BOUND);
    }

    @Test
    void engines() throws IOException, InterruptedException {
        assertThat(growthOf("engines")).isLessThan(BOUND);
    }

    @Test
    void failures() throws IOException, InterruptedException {
        assertThat(growthOf("failures")).isLessThan(BOUND);
    }

    /// The measurement detects a leak: a tenth of the cycles without closing exceeds the bound.
    @Test
    void growthIsNoticed() throws IOException, InterruptedException {
        assertThat(growthOf("kept")).isGreaterThan(BOUND);
    }

    private static long growthOf(String what) throws IOException, InterruptedException {
        Jvm jvm = Jvm.run(
                Cycles.class,
                "--enable-native-access=ALL-UNNAMED",
                "-Dsmpo.library=" + System.getProperty("smpo.library"),
                "-Dcycles=" + what,
                "-XX:+UseSerialGC",
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch");
        assertThat(jvm.exitCode()).as(jvm.output()).isZero();
        return Long.parseLong(jvm.output().strip());
    }

    /// Prints the growth of resident memory in bytes.
    static final class Cycles {
        private Cycles() {}

        public static void main(String[] arguments) throws IOException {
            float[] values = new float[TENSOR_ELEMENTS];
            float[] wrong = new float[TENSOR_ELEMENTS + 1];
            List<DeviceTensor> kept = new ArrayList<>();
            try (Engine engine = Engine.open(EngineConfig.onCpu());
                    DeviceTensor tensor = engine.zeros(DType.F32, TENSOR_ELEMENTS)) {
                String what = System.getProperty("cycles");
                System.out.println(
                        switch (what) {
                            case "tensors" -> growth(TENSOR_CYCLES, () -> openAndCloseTensors(engine, values));
                            case "engines" -> growth(ENGINE_CYCLES, Cycles::openAndCloseAnEngine);
                            case "failures" -> growth(TENSOR_CYCLES, () -> fail(tensor, wrong));
                            case "kept" ->
                                growth(TENSOR_CYCLES / 10, () -> kept.add(engine.fromHost(values, values.length)));
                            default -> throw new IllegalArgumentException(what);
                        });
            }
        }

        private static void openAndCloseTensors(Engine engine, float[] values) {
            try (DeviceTensor zeros = engine.zeros(DType.F32, values.length);
                    DeviceTensor copy = engine.fromHost(values, values.length);
                    DeviceTensor half = copy.convert(DType.BF16)) {
                zeros.copyToHost(values);
                require(!half.isClosed());
            }
        }

        private static void openAndCloseAnEngine() {
            DeviceTensor tensor;
            try (Engine engine = Engine.open(EngineConfig.onCpu())) {
                tensor = engine.zeros(DType.F32, TENSOR_ELEMENTS);
                engine.drainLog();
            }
            require(tensor.isClosed());
        }

        private static void fail(DeviceTensor tensor, float[] wrong) {
            try {
                tensor.copyToHost(wrong);
                require(false);
            } catch (ShapeMismatchException expected) {
                require(expected.status() == Status.SHAPE_MISMATCH);
            }
        }

        private static void require(boolean condition) {
            if (!condition) {
                throw new AssertionError();
            }
        }

        /// Returns the growth of resident memory over `cycles` rounds, after a fifth as many warm-up
        /// rounds.
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
                String line =
                        status.filter(l -> l.startsWith("VmRSS:")).findFirst().orElseThrow();
                return Long.parseLong(line.replaceAll("\\D", "")) << 10;
            }
        }
    }
}
