package org.smpo.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GuardTest {

    private static final Machine MACHINE = new Machine("Test CPU", "avx2", 2);

    @TempDir
    Path folder;

    private final ByteArrayOutputStream printed = new ByteArrayOutputStream();

    private Guard guard(double ratio) {
        List<String> command = List.of("printf", "%s\\n", "{\"guard\": \"x\", \"ns\": 10.0, \"ratio\": " + ratio + "}");
        return new Guard(
                MACHINE,
                folder.resolve("guard.json"),
                List.of(command),
                new PrintStream(printed, true, StandardCharsets.UTF_8));
    }

    private String output() {
        return printed.toString(StandardCharsets.UTF_8);
    }

    @Test
    void aPathAsFastAsRecordedPasses() throws Exception {
        guard(2.0).writeRecord();
        assertThat(guard(2.0).compare()).isTrue();
        assertThat(guard(2.25).compare()).isTrue();
        assertThat(guard(1.0).compare()).isTrue();
    }

    @Test
    void aPathMoreThanFifteenPercentSlowerFails() throws Exception {
        guard(2.0).writeRecord();
        assertThat(guard(2.32).compare()).isFalse();
        assertThat(output()).contains("SLOWER").contains("+16.0 %");
    }

    @Test
    void aMachineWithoutARecordIsMeasuredAndReported() throws Exception {
        assertThat(guard(2.0).compare()).isTrue();
        assertThat(output()).contains("no figures recorded for Test CPU, avx2, 2 cores");
    }

    @Test
    void aRecordedPathThatIsNoLongerMeasuredFails() throws Exception {
        Files.writeString(folder.resolve("guard.json"), "{\"" + MACHINE.key() + "\": {\"x\": 2.0, \"gone\": 1.0}}");
        assertThat(guard(2.0).compare()).isFalse();
        assertThat(output()).contains("gone is recorded but was not measured");
    }

    @Test
    void recordingOneMachineKeepsTheOthers() throws Exception {
        Files.writeString(folder.resolve("guard.json"), "{\"Other CPU\": {\"x\": 1.5}}");
        guard(2.0).writeRecord();
        assertThat(Files.readString(folder.resolve("guard.json")))
                .contains("Other CPU")
                .contains("Test CPU");
    }

    @Test
    void theCalibrationLoopIsNotOptimizedAway() {
        for (int i = 0; i < 200; i++) HotPath.calibrate();
        assertThat(HotPath.calibrate()).isBetween(20_000L, 20_000_000L);
    }
}
