package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.smpo.doctor.Checkup;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// The command line: exit codes, output streams, and the output of `doctor`.
class MainTest {
    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    @Test
    void versionNamesBothSidesAndTheirCommits() {
        assertThat(run("--version")).isZero();
        assertThat(out.toString())
                .containsPattern("smpo \\S+, commit \\S+")
                .containsPattern("library \\d+\\.\\d+\\.\\d+\\S*, commit \\S+, LibTorch 2\\.\\d+");
    }

    @Test
    void helpNamesTheCommandsAndTheExitCodes() {
        assertThat(run("--help")).isZero();
        assertThat(out.toString()).contains("doctor", "--debug", "wrong usage or configuration");
        assertThat(run("doctor", "--help")).isZero();
        assertThat(out.toString()).contains("--json");
    }

    @Test
    void wrongUsageIsTwo() {
        for (String[] wrong : List.<String[]>of(
                new String[] {},
                new String[] {"operate"},
                new String[] {"doctor", "--bogus"},
                new String[] {"doctor", "surplus"},
                new String[] {"--debug"})) {
            assertThat(run(wrong)).as(String.join(" ", wrong)).isEqualTo(2);
            assertThat(err.toString()).contains("Usage: smpo").doesNotContain("\tat ");
        }
        assertThat(out.toString()).isEmpty();
    }

    @Test
    void aFailureIsOneWithAMessageAndNoStackTrace() {
        assertThat(run("fail")).isEqualTo(1);
        assertThat(err.toString())
                .contains("smpo: recipe.yaml: pairs: expected a folder, got a file")
                .doesNotContain("\tat ");
    }

    @Test
    void debugShowsTheStackTraceBeforeOrAfterTheVerb() {
        assertThat(run("--debug", "fail")).isEqualTo(1);
        assertThat(err.toString()).contains("IllegalStateException", "\tat org.smpo.cli.MainTest$Fail.run");
        err.getBuffer().setLength(0);
        assertThat(run("fail", "--debug")).isEqualTo(1);
        assertThat(err.toString()).contains("\tat org.smpo.cli.MainTest$Fail.run");
    }

    @Test
    void aFailureWithoutAMessageIsNamed() {
        assertThat(run("fail", "silently")).isEqualTo(1);
        assertThat(err.toString()).contains("smpo: java.lang.IllegalStateException");
    }

    @Test
    void doctorDescribesTheMachineAndExitsByItsFindings() {
        Checkup checkup = Checkup.run();
        assertThat(run("doctor")).isEqualTo(checkup.healthy() ? 0 : 1);
        assertThat(out.toString())
                .contains(
                        "java        " + Runtime.version(),
                        "native access enabled",
                        System.getProperty("smpo.library"),
                        "matches: smpo.h has SHA-256 " + checkup.abi().headerSha256(),
                        checkup.library().libtorch(),
                        checkup.cpu().model(),
                        "GiB available",
                        "smoke test  cpu: passed")
                .endsWith("The engine can run." + System.lineSeparator());
        checkup.findings()
                .forEach(finding -> assertThat(out.toString()).contains(finding.what(), "to do: " + finding.advice()));
    }

    @Test
    void doctorJsonHoldsTheSame() {
        assertThat(run("doctor", "--json")).isZero();
        JsonNode json = JsonMapper.shared().readTree(out.toString());
        assertThat(json.at("/healthy").asBoolean()).isTrue();
        assertThat(json.at("/abi/matches").asBoolean()).isTrue();
        assertThat(json.at("/java/nativeAccess").asBoolean()).isTrue();
        assertThat(json.at("/library/libtorch").asString()).startsWith("2.");
        assertThat(json.at("/memory/total").asLong())
                .isGreaterThan(json.at("/memory/available").asLong());
        assertThat(json.at("/smokeTests/0/device").asString()).isEqualTo("cpu");
        assertThat(json.at("/smokeTests/0/problem").isString()).isTrue();
        assertThat(json.at("/smokeTests/0/problem").asString()).isEmpty();
        assertThat(json.at("/cpu/features").isArray()).isTrue();
    }

    private int run(String... arguments) {
        CommandLine commandLine = Main.commandLine();
        commandLine.addSubcommand(new Fail());
        commandLine.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
        commandLine.setColorScheme(CommandLine.Help.defaultColorScheme(CommandLine.Help.Ansi.OFF));
        return commandLine.execute(arguments);
    }

    /// Fails like a verb.
    @Command(name = "fail")
    static final class Fail implements Runnable {
        @CommandLine.Parameters(arity = "0..1")
        private String silently;

        @Override
        public void run() {
            throw silently == null
                    ? new IllegalStateException("recipe.yaml: pairs: expected a folder, got a file")
                    : new IllegalStateException();
        }
    }
}
