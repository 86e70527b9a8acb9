package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// A process that ends during a call of the library skips the exit handlers of the C library, which are where the
/// destructors of LibTorch run; any other process does not.
///
/// The child registers an exit handler that can be seen: `on_exit` calls it with the exit code, and `dprintf(1, text)`
/// prints to standard output, so a child that exits with 1 shows whether its handlers ran.
class ProcessExitTest {
    private static final String HANDLERS = "exit handlers ran";

    /// Situation in which the process ends.
    enum Ending {
        /// Another thread ends the process while the engine's owner computes.
        DURING_A_CALL,
        /// The owner of an open engine ends the process.
        BY_THE_OWNER,
        /// The owner of an open engine has ended.
        AFTER_THE_OWNER,
        /// Every engine is closed.
        AFTER_CLOSING
    }

    @ParameterizedTest
    @EnumSource(names = "DURING_A_CALL", mode = EnumSource.Mode.EXCLUDE)
    void anOrdinaryExitStaysOrdinary(Ending ending) throws IOException, InterruptedException {
        Jvm child = child(ending);
        assertThat(child.output()).contains("computing", HANDLERS);
        assertThat(child.exitCode()).isEqualTo(1);
    }

    @Test
    void anExitDuringACallRunsNoDestructors() throws IOException, InterruptedException {
        Jvm child = child(Ending.DURING_A_CALL);
        assertThat(child.output())
                .contains("computing", "hook of the application")
                .doesNotContain(HANDLERS, "SIGSEGV");
        assertThat(child.exitCode()).isEqualTo(1);
    }

    private static Jvm child(Ending ending) throws IOException, InterruptedException {
        return Jvm.run(
                Child.class,
                "-Dsmpo.library=" + System.getProperty("smpo.library"),
                "--enable-native-access=ALL-UNNAMED",
                "-Dending=" + ending);
    }

    static final class Child {
        private Child() {}

        @SuppressWarnings("restricted")
        public static void main(String[] arguments) throws Throwable {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook of the application")));
            Linker linker = Linker.nativeLinker();
            MemorySegment handler = linker.defaultLookup().find("dprintf").orElseThrow();
            int status = (int) linker.downcallHandle(
                            linker.defaultLookup().find("on_exit").orElseThrow(),
                            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS))
                    .invokeExact(handler, Arena.global().allocateFrom(HANDLERS));
            assertThat(status).isZero();
            Ending ending = Ending.valueOf(System.getProperty("ending"));
            CountDownLatch computing = new CountDownLatch(1);
            Thread owner = new Thread(() -> own(ending, computing));
            owner.setDaemon(true);
            owner.start();
            computing.await();
            if (ending != Ending.DURING_A_CALL) {
                owner.join();
            }
            System.exit(1);
        }

        private static void own(Ending ending, CountDownLatch computing) {
            Engine engine = Engine.open(EngineConfig.onCpu());
            DeviceTensor tensor = engine.zeros(org.smpo.io.DType.F32, 1, 1 << 16);
            System.out.println("computing");
            switch (ending) {
                case DURING_A_CALL -> {
                    computing.countDown();
                    while (true) {
                        tensor.fillNormal(0, 0, 0);
                    }
                }
                case BY_THE_OWNER -> System.exit(1);
                case AFTER_THE_OWNER -> computing.countDown();
                case AFTER_CLOSING -> {
                    engine.close();
                    computing.countDown();
                }
            }
        }
    }
}
