package org.smpo.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import org.junit.jupiter.api.Test;

final class SafetensorsBenchTest {
    /// Setting up compares the parsers tensor by tensor; here each measured method runs once.
    @Test
    void contendersAgreeAndRun() throws IOException {
        SafetensorsBench bench = new SafetensorsBench();
        bench.prepare();
        try {
            assertThat(bench.open()).isEqualTo(SafetensorsBench.TENSORS);
            assertThat(bench.parseAsGeneralJson().keys()).hasSize(SafetensorsBench.TENSORS + 1);
            assertThat(bench.openAndTouch()).isNotZero();
        } finally {
            bench.cleanUp();
        }
    }
}
