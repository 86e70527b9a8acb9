package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.BadRecords;
import org.smpo.evaluate.FakeEvaluation;
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
            {"data", "pairs", folder, "--by", "a", "--select", "best", "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--by", "a", "--combine", "mean", "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--by", "a", "--loser", "first", "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--by", "a", "--per-prompt", 0, "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--by", "a:1", "--min-preference", 1, "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--by", "a", "--judge", "score:a", "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--select", "tournament", "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--select", "tournament", "--judge", "vote", "--out", temporary.resolve("out")},
            {"data", "pairs", folder, "--by", "a", "--judge-timeout", 0, "--out", temporary.resolve("out")},
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

    /// From an evaluation to pairs that training reads.
    @Test
    void pairsAreBuilt() throws IOException, SQLException {
        Path evaluation = temporary.resolve("evaluation");
        FakeEvaluation fake = new FakeEvaluation(evaluation, "a", "b");
        for (int image = 0; image < 4; image++) {
            fake.add("base", 0, "a cat", image, image, -image);
            fake.add("tuned", 0, "a cat", image, 2 * image, image);
        }
        fake.write();
        Path out = temporary.resolve("out");
        Outcome built =
                smpo("data", "pairs", evaluation, "--by", "a", "--by", "b:2:3", "--model", "tuned", "--out", out);
        assertThat(built.code()).as(built.err()).isZero();
        assertThat(built.out().strip()).isEqualTo("1 pairs in " + out + ", 0 prompts without one");
        JsonObject record = Json.readObject(out.resolve("pairs.json"));
        assertThat(record.string("combine")).isEqualTo("calibrated");
        assertThat(record.objects("rewards").get(1).number("temperature")).isEqualTo(2.0);
        assertThat(record.objects("rewards").get(1).number("weight")).isEqualTo(3.0);
        assertThat(Files.readString(out.resolve("pairs.jsonl"))).contains("tuned-0", "probability_0");
        Outcome again = smpo("data", "pairs", evaluation, "--by", "a", "--out", out);
        assertThat(again.code()).isEqualTo(2);
        assertThat(again.err()).contains("pairs.jsonl exists already");
        Path champions = temporary.resolve("champions");
        Outcome tournament = smpo(
                "data",
                "pairs",
                evaluation,
                "--select",
                "tournament",
                "--judge",
                "score:b:1",
                "--loser",
                "worst",
                "--out",
                champions);
        assertThat(tournament.code()).as(tournament.err()).isZero();
        // By b, image 0 of the first model is the best and image 3 the worst.
        assertThat(Files.readString(champions.resolve("pairs.jsonl"))).contains("0-0.png", "0-3.png", "\"label\":0");
        assertThat(smpo("data", "pairs", evaluation, "--by", "c", "--out", temporary.resolve("x"))
                        .err())
                .contains("metric: expected one of the evaluation's, a, b; got c");
    }
}
