package org.smpo.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Lines of the log survive, are read back, and appear once however often a run is interrupted.
class RunLogTest {
    @TempDir
    private Path folder;

    private Path file;

    @BeforeEach
    void name() {
        file = folder.resolve("log.jsonl");
    }

    private static Map<String, Object> step(long step) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("step", step);
        event.put("loss", 1.0 / step);
        return event;
    }

    private static void steps(RunLog log, long from, long to) throws IOException {
        for (long step = from; step <= to; step++) {
            log.append(step(step));
        }
    }

    @Test
    void eventsAreReadBackInOrder() throws IOException {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("z", "line\nbreak \u00e9 \"");
        event.put("a", List.of(1, 2.5, true));
        event.put("big", 1L << 40);
        event.put("nan", Double.NaN);
        event.put("infinite", Double.NEGATIVE_INFINITY);
        event.put("tenth", 0.1);
        event.put("none", null);
        event.put("by_bucket", Map.of("0-99", 0.5));
        try (RunLog log = RunLog.create(file)) {
            log.append(event);
            assertThat(RunLog.read(file)).as("before it is closed").containsExactly(event);
            log.append(Map.of());
        }
        assertThat(RunLog.read(file)).containsExactly(event, Map.of());
        assertThat(Files.readString(file)).startsWith("{\"z\":\"line\\nbreak").contains("\"nan\":NaN,");
    }

    @Test
    void aResumedLogEqualsTheUninterruptedOne() throws IOException {
        Path whole = folder.resolve("whole.jsonl");
        try (RunLog log = RunLog.create(whole)) {
            steps(log, 1, 20);
        }
        long length;
        try (RunLog log = RunLog.create(file)) {
            steps(log, 1, 7);
            length = log.sync();
            steps(log, 8, 13);
        }
        Files.writeString(file, "{\"step\":14,\"lo", StandardOpenOption.APPEND);
        try (RunLog log = RunLog.resume(file, length)) {
            steps(log, 8, 20);
            assertThat(log.sync()).isEqualTo(Files.size(whole));
        }
        assertThat(file).hasSameBinaryContentAs(whole);
    }

    /// Complete lines are read wherever a process was killed.
    @Test
    void anIncompleteLastLineIsSkipped() throws IOException {
        try (RunLog log = RunLog.create(file)) {
            steps(log, 1, 3);
        }
        byte[] all = Files.readAllBytes(file);
        for (int length = 0; length <= all.length; length++) {
            Files.write(file, Arrays.copyOf(all, length));
            int lines = 0;
            for (int i = 0; i < length; i++) {
                lines += all[i] == '\n' ? 1 : 0;
            }
            assertThat(RunLog.read(file)).as("first %d bytes", length).hasSize(lines);
        }
        Files.write(file, new byte[] {'{', '"', (byte) 0xc3});
        assertThat(RunLog.read(file)).as("cut within a letter").isEmpty();
    }

    @Test
    void anotherRunsLogIsNotResumed() throws IOException {
        try (RunLog log = RunLog.create(file)) {
            steps(log, 1, 3);
        }
        assertThatThrownBy(() -> RunLog.create(file)).isInstanceOf(IOException.class);
        assertThatThrownBy(() -> RunLog.resume(file, 5)).hasMessageContaining("expected the end of a line at byte 5");
        assertThatThrownBy(() -> RunLog.resume(file, 5000)).hasMessageContaining("expected at least the 5000 bytes");
        assertThat(RunLog.read(file)).hasSize(3);
        RunLog.resume(file, 0).close();
        assertThat(file).isEmptyFile();
    }

    @Test
    void aDamagedLineIsNamed() throws IOException {
        Files.writeString(file, "{\"a\":1}\n{\"a\":1,\"a\":2}\n");
        assertThatThrownBy(() -> RunLog.read(file)).hasMessageContaining("log.jsonl: line 2: Duplicate");
        Files.writeString(file, "{\"a\":1}\n{}\n[1]\n");
        assertThatThrownBy(() -> RunLog.read(file)).hasMessageContaining("line 3: expected a JSON object, found [1]");
        Files.writeString(file, "{\"a\":1}{}\n");
        assertThatThrownBy(() -> RunLog.read(file)).hasMessageContaining("line 1: ");
        Files.writeString(file, "\n");
        assertThatThrownBy(() -> RunLog.read(file)).hasMessageContaining("line 1: ");
    }
}
