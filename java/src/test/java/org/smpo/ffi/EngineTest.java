package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatNullPointerException;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.logging.Handler;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.smpo.io.DType;

/// A session: opening, statistics, log, cancellation, and the library's description of itself and the
/// machine.
class EngineTest {
    @Test
    void aConfigurationOutOfRangeIsRefused() {
        EngineConfig good = EngineConfig.onCpu();
        for (EngineConfig bad : new EngineConfig[] {
            good.withThreads(-1),
            good.withThreads(1025),
            good.withLog(LogLevel.INFO, 0),
            good.withLog(LogLevel.INFO, 65537),
            good.withLog(LogLevel.INFO, -1),
            good.withDevice(new Device(Device.Type.CPU, 1)),
            good.withDevice(new Device(Device.Type.CPU, -1))
        }) {
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .as(bad.toString())
                    .isThrownBy(() -> Engine.open(bad))
                    .withMessageContaining("expected")
                    .withMessageContaining("got");
        }
        assertThatNullPointerException().isThrownBy(() -> Engine.open(null));
        assertThatNullPointerException().isThrownBy(() -> good.withDevice(null));
        assertThatNullPointerException().isThrownBy(() -> good.withLog(null, 1));
        assertThatNullPointerException().isThrownBy(() -> new Device(null, 0));
    }

    @Test
    void aDeviceThatIsNotThereIsRefusedWithTheReason() {
        int missing = CudaInfo.read().deviceCount();
        assertThatExceptionOfType(EngineException.class)
                .isThrownBy(() -> Engine.open(EngineConfig.onCuda(missing)))
                .satisfies(e -> assertThat(e.status()).isIn(Status.UNSUPPORTED, Status.INVALID_ARGUMENT));
        assertThatExceptionOfType(EngineException.class)
                .isThrownBy(() -> Engine.open(EngineConfig.onCuda(-1)))
                .satisfies(e -> assertThat(e.status()).isIn(Status.UNSUPPORTED, Status.INVALID_ARGUMENT));
    }

    @Test
    void anyConfigurationInRangeOpens() {
        for (EngineConfig config : new EngineConfig[] {
            EngineConfig.onCpu().withThreads(1024).withLog(LogLevel.DEBUG, 65536),
            EngineConfig.onCpu().withThreads(1).withSeed(-1).withLog(LogLevel.ERROR, 1),
            EngineConfig.onCpu().withDeterministic(false)
        }) {
            try (Engine engine = Engine.open(config)) {
                assertThat(engine.config()).isEqualTo(config);
                assertThat(engine.zeros(DType.F32, 2).toFloats()).containsExactly(0f, 0f);
                assertThat(engine.abiVersion()).isEqualTo(Native.ABI_VERSION);
            }
        }
    }

    @Test
    void statisticsCount() {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            EngineStatistics before = engine.statistics();
            DeviceTensor tensor = engine.zeros(DType.F32, 1 << 20);
            EngineStatistics with = engine.statistics();
            assertThat(with.openTensors()).isEqualTo(before.openTensors() + 1);
            assertThat(with.calls()).isEqualTo(before.calls() + 2);
            assertThat(with.hostBytesInUse()).isGreaterThanOrEqualTo(before.hostBytesInUse() + (4 << 20));
            assertThat(with.hostBytesPeak()).isGreaterThanOrEqualTo(with.hostBytesInUse());
            assertThat(with.deviceBytesInUse()).isZero();
            assertThatExceptionOfType(ShapeMismatchException.class).isThrownBy(() -> tensor.copyToHost(new float[1]));
            assertThat(engine.statistics().failedCalls()).isEqualTo(before.failedCalls() + 1);
            tensor.close();
            EngineStatistics after = engine.statistics();
            assertThat(after.openTensors()).isEqualTo(before.openTensors());
            assertThat(after.hostBytesInUse()).isLessThan(with.hostBytesInUse());
            engine.trim();
            assertThat(engine.statistics().hostBytesPooled()).isLessThanOrEqualTo(after.hostBytesPooled());
        }
    }

    @Test
    void theLogIsDrainedInOrderAndOnce() {
        Instant start = Instant.now().minusSeconds(1);
        try (Engine engine = Engine.open(EngineConfig.onCpu().withLog(LogLevel.DEBUG, 1000))) {
            engine.drainLog();
            // More than one batch of the binding.
            for (int i = 0; i < 150; i++) {
                engine.trim();
            }
            List<LogRecord> records = engine.drainLog();
            assertThat(records).hasSize(150).allSatisfy(record -> {
                assertThat(record.level()).isEqualTo(LogLevel.DEBUG);
                assertThat(record.message()).startsWith("trim: ");
                assertThat(record.time()).isBetween(start, Instant.now().plusSeconds(1));
            });
            assertThat(records).isSortedAccordingTo((a, b) -> a.time().compareTo(b.time()));
            assertThat(engine.drainLog()).isEmpty();
        }
    }

    /// No operation on the CPU causes a warning reliably, so the test makes the records.
    @Test
    void warningsAndErrorsGoToALogger() {
        List<String> logged = new ArrayList<>();
        Logger logger = Logger.getLogger("org.smpo.engine");
        Handler handler = new Handler() {
            @Override
            public void publish(java.util.logging.LogRecord record) {
                logged.add(record.getLevel() + ": " + record.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        logger.addHandler(handler);
        logger.setUseParentHandlers(false);
        try {
            Engine.report(List.of(
                    new LogRecord(LogLevel.INFO, Instant.now(), "opened"),
                    new LogRecord(LogLevel.WARNING, Instant.now(), "no CUDA graph"),
                    new LogRecord(LogLevel.ERROR, Instant.now(), "device fault")));
        } finally {
            logger.removeHandler(handler);
            logger.setUseParentHandlers(true);
        }
        assertThat(logged).containsExactly("WARNING: no CUDA graph", "SEVERE: device fault");
    }

    @Test
    void aFullLogDropsTheOldestAndCountsThem() {
        try (Engine engine = Engine.open(EngineConfig.onCpu().withLog(LogLevel.DEBUG, 64))) {
            engine.drainLog();
            for (int i = 0; i < 100; i++) {
                engine.trim();
            }
            assertThat(engine.statistics().logRecordsDropped()).isEqualTo(36);
            assertThat(engine.drainLog()).hasSize(64);
            assertThat(engine.drainLog()).isEmpty();
        }
        try (Engine engine = Engine.open(EngineConfig.onCpu().withLog(LogLevel.ERROR, 64))) {
            engine.trim();
            assertThat(engine.drainLog()).isEmpty();
        }
    }

    @Test
    void manyVirtualThreadsCancelOnce() throws Exception {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            DeviceTensor tensor = engine.zeros(DType.F32, 2, 8);
            AtomicInteger accepted = new AtomicInteger();
            List<Future<?>> cancels = new ArrayList<>();
            try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
                for (int i = 0; i < 2000; i++) {
                    cancels.add(threads.submit(() -> {
                        if (engine.cancel()) {
                            accepted.incrementAndGet();
                        }
                    }));
                }
            }
            for (Future<?> cancel : cancels) {
                cancel.get();
            }
            assertThat(accepted).hasValue(2000);
            // A call that cannot be cancelled completes, and the request stays pending.
            engine.synchronize();
            assertThatExceptionOfType(CancelledException.class).isThrownBy(() -> tensor.fillNormal(0, 0, 0, 1));
            tensor.fillNormal(0, 0, 0, 1);
            assertThat(tensor.toFloats()).doesNotContain(0f);
        }
    }

    @Test
    void anOperationInFlightIsCancelled() throws Exception {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            DeviceTensor tensor = engine.zeros(DType.F32, 64, 1 << 20);
            long[] items = new long[64];
            tensor.fillNormal(0, 0, items);
            CountDownLatch started = new CountDownLatch(1);
            Thread canceller = Thread.ofVirtual().start(() -> {
                try {
                    started.await();
                    Thread.sleep(5);
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
                engine.cancel();
            });
            started.countDown();
            assertThatExceptionOfType(CancelledException.class).isThrownBy(() -> {
                // The request stops whichever call is in flight.
                for (int i = 0; i < 1000; i++) {
                    tensor.fillNormal(0, i, items);
                }
            });
            canceller.join();
            tensor.fillNormal(0, 0, items);
            assertThat(tensor.toFloats()[0]).isFinite();
        }
    }

    @Test
    void cancellingWhileTheOwnerClosesIsHarmless() throws Exception {
        for (int i = 0; i < 50; i++) {
            Engine engine = Engine.open(EngineConfig.onCpu());
            List<Future<?>> cancels = new ArrayList<>();
            try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
                for (int j = 0; j < 20; j++) {
                    cancels.add(threads.submit(engine::cancel));
                }
                engine.close();
            }
            for (Future<?> cancel : cancels) {
                cancel.get();
            }
            assertThat(engine.cancel()).isFalse();
        }
    }

    @Test
    void enginesOfDifferentThreadsWorkSideBySide() throws InterruptedException {
        List<Throwable> failures = new ArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            int value = i;
            Thread thread = new Thread(() -> {
                try (Engine engine = Engine.open(EngineConfig.onCpu())) {
                    for (int j = 0; j < 500; j++) {
                        try (DeviceTensor tensor = engine.fromHost(new float[] {value, j}, 2);
                                DeviceTensor half = tensor.convert(DType.F16)) {
                            assertThat(half.toFloats()).containsExactly(value, j);
                            assertThatExceptionOfType(ShapeMismatchException.class)
                                    .isThrownBy(() -> tensor.copyToHost(new float[3 + value]))
                                    .withMessageContaining("got " + 4 * (3 + value));
                        }
                    }
                }
            });
            thread.setUncaughtExceptionHandler((t, e) -> {
                synchronized (failures) {
                    failures.add(e);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertThat(failures).isEmpty();
    }

    @Test
    void theLibraryDescribesItself() {
        LibraryInfo library = LibraryInfo.read();
        assertThat(library.abiVersion()).isEqualTo(Native.ABI_VERSION);
        assertThat(library.version()).matches("\\d+\\.\\d+\\.\\d+.*");
        assertThat(library.libtorch()).matches("2\\.\\d+\\.\\d+.*");
        assertThat(library.commit()).isNotEmpty();
        assertThat(library.buildType()).isNotEmpty();
        assertThat(library.compiler()).isNotEmpty();
    }

    @Test
    void theMachineIsDescribed() {
        CpuInfo cpu = CpuInfo.read();
        assertThat(cpu.model()).isNotEmpty();
        assertThat(cpu.logicalCores()).isPositive();
        assertThat(cpu.physicalCores()).isBetween(1, cpu.logicalCores());
        assertThat(cpu.totalMemory()).isGreaterThan(1L << 28);
        assertThat(cpu.availableMemory()).isBetween(0L, cpu.totalMemory());
        CudaInfo cuda = CudaInfo.read();
        assertThat(cuda.problem().isEmpty()).isEqualTo(cuda.deviceCount() > 0);
        assertThat(cuda.devices()).hasSize(cuda.deviceCount()).allSatisfy(device -> {
            assertThat(device.name()).isNotEmpty();
            assertThat(device.totalMemory()).isGreaterThanOrEqualTo(device.freeMemory());
        });
        for (int index : new int[] {-1, cuda.deviceCount(), Integer.MAX_VALUE}) {
            assertThatExceptionOfType(InvalidArgumentException.class).isThrownBy(() -> CudaDevice.read(index));
        }
    }
}
