package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.smpo.io.DType;

/// The calls of a group of one process, and a group that waits in vain. Groups of several processes are tested natively
/// (`native/test/comm`).
class ProcessGroupTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(2);

    @Test
    void aGroupOfOneLeavesTensorsUnchanged() {
        try (Engine engine = Engine.open(EngineConfig.onCpu());
                ProcessGroup group = ProcessGroup.open(engine, config(1, 0));
                DeviceTensor tensor = engine.zeros(DType.F32, 2, 3)) {
            tensor.fillNormal(0, 0, 0, 1);
            float[] before = tensor.toFloats();
            group.allReduce(tensor);
            group.broadcast(tensor, 0);
            group.barrier();
            assertThat(tensor.toFloats()).isEqualTo(before);
            try (DeviceTensor gathered = group.gather(tensor, 0)) {
                assertThat(gathered.shape()).containsExactly(1, 2, 3);
                assertThat(gathered.toFloats()).isEqualTo(before);
            }
        }
    }

    @Test
    void aRankThatDoesNotComeIsNamed() {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            assertThatExceptionOfType(PeerLostException.class)
                    .isThrownBy(() -> ProcessGroup.open(engine, config(2, freePort())))
                    .withMessageContaining("no sign of rank 1 within 2000 ms");
        }
    }

    private static ProcessGroup.Config config(int size, int port) {
        return new ProcessGroup.Config(0, size, "127.0.0.1", port, TIMEOUT, TIMEOUT, "same", "test", false);
    }

    private static int freePort() throws java.io.IOException {
        try (java.net.ServerSocket socket = new java.net.ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }
}
