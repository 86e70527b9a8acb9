package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.smpo.io.DType;

/// A handle that is garbage collected without being closed is reported with the line that opened it,
/// and its memory is reclaimed.
class LeakTest {
    private final Queue<LogRecord> reports = new ConcurrentLinkedQueue<>();
    private final Logger logger = Logger.getLogger("org.smpo.ffi");
    private final Handler handler = new Handler() {
        @Override
        public void publish(LogRecord record) {
            reports.add(record);
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    };

    @BeforeEach
    void listen() {
        logger.setUseParentHandlers(false);
        logger.addHandler(handler);
    }

    @AfterEach
    void stopListening() {
        logger.removeHandler(handler);
        logger.setUseParentHandlers(true);
    }

    @Test
    void aLeakedTensorIsReportedAndReclaimed() throws InterruptedException {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            forget(engine);
            LogRecord report = awaitReport("f32[17, 3]");
            assertThat(report.getMessage()).isEqualTo("leak: DeviceTensor f32[17, 3] on cpu was never closed");
            assertThat(report.getThrown().getStackTrace())
                    .anySatisfy(frame -> assertThat(frame.getMethodName()).isEqualTo("forget"));
            assertThat(engine.statistics().openTensors()).isZero();
        }
    }

    @Test
    void manyLeakedTensorsAreAllReclaimedByTheOwner() throws InterruptedException {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            for (int i = 0; i < 1000; i++) {
                forget(engine);
            }
            for (int i = 0; i < 200 && engine.statistics().openTensors() > 0; i++) {
                collectGarbage();
            }
            assertThat(engine.statistics().openTensors()).isZero();
            assertThat(engine.statistics().failedCalls()).isZero();
        }
    }

    @Test
    void aLeakedEngineIsReported() throws InterruptedException {
        forgetEngine();
        LogRecord report = awaitReport("Engine on cpu");
        assertThat(report.getThrown().getStackTrace())
                .anySatisfy(frame -> assertThat(frame.getMethodName()).isEqualTo("forgetEngine"));
    }

    @Test
    void closedHandlesAreNotReported() throws InterruptedException {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            closeItself(engine);
            forget(engine);
            awaitReport("f32[17, 3]"); // proves that a collection has run since
            assertThat(reports)
                    .noneSatisfy(report -> assertThat(report.getMessage()).contains("f16[5]"));
        }
        leaveToTheEngine();
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            forget(engine);
            awaitReport("f32[17, 3]");
            assertThat(reports)
                    .noneSatisfy(report -> assertThat(report.getMessage()).contains("i64[19]"));
        }
    }

    @Test
    void reportsCanBeSwitchedOnAndOff() throws IOException, InterruptedException {
        String library = "-Dsmpo.library=" + System.getProperty("smpo.library");
        String access = "--enable-native-access=ALL-UNNAMED";
        for (List<String> on : List.of(List.of("-ea"), List.of("-Dsmpo.leaks=true"))) {
            Jvm jvm = Jvm.run(Leaking.class, library, access, on.getFirst());
            assertThat(jvm.output())
                    .contains("leak: DeviceTensor f32[17, 3]", "opened here", "LeakTest.forget", "reclaimed");
        }
        assertThat(Jvm.run(Leaking.class, library, access).output()).isEqualTo("reclaimed\n");
        assertThat(Jvm.run(Leaking.class, library, access, "-ea", "-Dsmpo.leaks=false")
                        .output())
                .isEqualTo("reclaimed\n");
    }

    static final class Leaking {
        private Leaking() {}

        public static void main(String[] arguments) throws InterruptedException {
            try (Engine engine = Engine.open(EngineConfig.onCpu())) {
                forget(engine);
                for (int i = 0; i < 200 && engine.statistics().openTensors() > 0; i++) {
                    collectGarbage();
                }
                System.out.println(engine.statistics().openTensors() == 0 ? "reclaimed" : "still held");
            }
        }
    }

    private static void forget(Engine engine) {
        engine.zeros(DType.F32, 17, 3);
    }

    private static void forgetEngine() {
        Engine.open(EngineConfig.onCpu());
    }

    private static void closeItself(Engine engine) {
        engine.zeros(DType.F16, 5).close();
    }

    private static void leaveToTheEngine() {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            engine.zeros(DType.I64, 19);
        }
    }

    private LogRecord awaitReport(String text) throws InterruptedException {
        for (int i = 0; i < 200; i++) {
            for (LogRecord report : reports) {
                if (report.getMessage().contains(text)) {
                    return report;
                }
            }
            collectGarbage();
        }
        throw new AssertionError("no leak report of " + text);
    }

    private static void collectGarbage() throws InterruptedException {
        System.gc();
        Thread.sleep(10);
    }
}
