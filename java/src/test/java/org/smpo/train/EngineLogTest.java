package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.smpo.ffi.LogLevel;
import org.smpo.ffi.LogRecord;

/// Warnings of the engine reach the user and the run's log. No operation on the CPU causes one reliably, so the test
/// makes the records.
final class EngineLogTest {
    private static LogRecord record(LogLevel level, String message) {
        return new LogRecord(level, Instant.EPOCH, message);
    }

    @Test
    void warningsAndErrorsReachTheUserAndTheLogOnce() throws IOException {
        List<LogRecord> records = new ArrayList<>(List.of(
                record(LogLevel.DEBUG, "trim"),
                record(LogLevel.INFO, "opened"),
                record(LogLevel.WARNING, "no CUDA graph"),
                record(LogLevel.ERROR, "device fault"),
                record(LogLevel.WARNING, "no CUDA graph")));
        TinyRun.Said said = new TinyRun.Said();
        List<Map<String, Object>> events = new ArrayList<>();
        EngineLog log = new EngineLog(() -> List.copyOf(records), said, events::add);
        log.pass(4);
        assertThat(said.warnings).containsExactly("no CUDA graph", "device fault");
        assertThat(events)
                .containsExactly(
                        Map.of("event", "engine_warning", "step", 4L, "message", "no CUDA graph"),
                        Map.of("event", "engine_error", "step", 4L, "message", "device fault"));
        records.add(record(LogLevel.WARNING, "another"));
        log.pass(5);
        assertThat(said.warnings).containsExactly("no CUDA graph", "device fault", "another");
        assertThat(events).hasSize(3);
    }
}
