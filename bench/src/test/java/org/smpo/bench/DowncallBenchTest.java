package org.smpo.bench;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.smpo.ffi.LibraryInfo;

/// The contenders do the same work: they return the same number, which is the library's own.
class DowncallBenchTest {
    private final DowncallBench bench = new DowncallBench();

    @BeforeEach
    void open() {
        bench.open();
    }

    @AfterEach
    void close() {
        bench.close();
    }

    @Test
    void theContendersAgree() {
        int expected = LibraryInfo.read().abiVersion();
        assertThat(expected).isPositive();
        assertThat(bench.abiVersion()).isEqualTo(expected);
        assertThat(bench.bareDowncall()).isEqualTo(expected);
    }

    @Test
    void theSessionCallRuns() {
        bench.synchronize();
        assertThat(bench.abiVersion()).isPositive();
    }
}
