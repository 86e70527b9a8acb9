package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.BadRecords;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// `smpo data validate` as a user runs it.
final class DataCommandTest {
    @TempDir
    private Path temporary;

    @Test
    void theLimitDecides() throws IOException {
        Path folder = temporary.resolve("pairs");
        BadRecords.write(folder, 4);
        Path json = temporary.resolve("report.json");
        Outcome outcome = smpo("data", "validate", folder, "--json", json, "--max-bad-fraction", "0.6", "--threads", 2);
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.out()).contains("bad", "1 x a missing file", "14 of 32 records are bad", "fine");
        JsonObject report = Json.readObject(json);
        assertThat(report.integer("records")).isEqualTo(32);
        assertThat(report.integer("bad")).isEqualTo(14);
        assertThat(report.bool("acceptable")).isTrue();
        assertThat(report.string("fingerprint")).hasSize(64);
        assertThat(report.object("problems").keys()).hasSizeGreaterThanOrEqualTo(20);
        JsonObject missing = report.object("problems").object("missing_file");
        assertThat(missing.string("severity")).isEqualTo("bad");
        assertThat(missing.objects("examples").get(0).string("message")).contains("pairs.jsonl: line");

        Outcome refused = smpo("data", "validate", folder);
        assertThat(refused.code()).isEqualTo(1);
        assertThat(refused.out()).contains("too many");
    }

    @Test
    void wrongUsageEndsWithTwoAndUnreadableDataWithOne() throws IOException {
        Path folder = Files.createDirectories(temporary.resolve("empty"));
        Object[][] wrong = {
            {"data"},
            {"data", "validate"},
            {"data", "validate", temporary.resolve("nothing")},
            {"data", "validate", folder, "--max-bad-fraction", "1.5"},
            {"data", "validate", folder, "--max-bad-fraction", "NaN"},
            {"data", "validate", folder, "--threads", "0"},
            {"data", "validate", folder, "--json", temporary.resolve("no/such/folder.json")},
            {"data", "validate", folder, "--jsn", "x"},
            {"data", "pairs", folder, "--out", temporary.resolve("out")},
            {"data", "pairs", temporary.resolve("nothing"), "--by", "reward", "--out", temporary.resolve("out")}
        };
        for (Object[] arguments : wrong) {
            Outcome outcome = smpo(arguments);
            assertThat(outcome.code()).as(Arrays.toString(arguments)).isEqualTo(2);
            assertThat(outcome.err()).isNotBlank().doesNotContain("\tat ");
        }
        Outcome unfinished = smpo("data", "pairs", folder, "--by", "reward", "--out", temporary.resolve("out"));
        assertThat(unfinished.code()).isEqualTo(1);
        assertThat(unfinished.err()).contains("expected a finished evaluation").doesNotContain("\tat ");
        Outcome unreadable = smpo("data", "validate", folder);
        assertThat(unreadable.code()).isEqualTo(1);
        assertThat(unreadable.err()).contains("expected pairs.jsonl").doesNotContain("\tat ");
    }
}
