package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
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
            assertThat(err.toString().lines().toList().getLast())
                    .as("the message comes last")
                    .matches("(?i).*(missing|unmatched|unknown|expected).*");
        }
        assertThat(out.toString()).isEmpty();
    }

    @Test
    void aFailureOfJavasFilesIsMoreThanAPath() {
        for (Exception failure : List.of(
                new NoSuchFileException("/models/x"),
                new AccessDeniedException("/models/x"),
                new FileAlreadyExistsException("/models/x"),
                new DirectoryNotEmptyException("/models/x"),
                new NotDirectoryException("/models/x"))) {
            assertThat(Failure.describe(failure))
                    .startsWith("/models/x: expected ")
                    .contains(", found ", "; ");
        }
        assertThat(Failure.describe(new FileSystemException("/models/x", null, "No space left on device")))
                .isEqualTo("/models/x: No space left on device");
    }

    @Test
    void aFailureIsOneWithAMessageAndNoStackTrace() {
        assertThat(run("fail")).isEqualTo(1);
        assertThat(err.toString())
                .contains("smpo: recipe.yaml: pairs: expected a folder, got a file")
                .doesNotContain("\tat ");
    }

    /// Errors of the machine are failures with a sentence, whatever library wraps them.
    @Test
    void errorsAreFailuresWithASentence() {
        assertThat(run("fail", "memory")).isEqualTo(1);
        assertThat(err.toString())
                .contains("smpo: out of memory: expected room in the Java heap of ", "(Java heap space)", "-Xmx")
                .doesNotContain("\tat ");
        err.getBuffer().setLength(0);
        assertThat(run("fail", "wrapped")).isEqualTo(1);
        assertThat(err.toString()).contains("smpo: out of memory").doesNotContain("corrupt");
        err.getBuffer().setLength(0);
        assertThat(run("fail", "cut")).isEqualTo(1);
        assertThat(err.toString()).contains("smpo: a file became shorter").doesNotContain("\tat ");
        err.getBuffer().setLength(0);
        assertThat(run("fail", "rebuilt")).isEqualTo(1);
        assertThat(err.toString()).contains("a part of smpo is missing: org/smpo/X", "run the command again");
        err.getBuffer().setLength(0);
        assertThat(run("--debug", "fail", "cut")).isEqualTo(1);
        assertThat(err.toString()).contains("\tat ");
    }

    /// Names and captions of strangers cannot steer the terminal.
    @Test
    void controlCharactersAreShown() {
        String hostile = "a\u001b[2Jb\u0007c\u202ed\rsafe\u001b[31m\u0000";
        assertThat(run("fail", "print", hostile)).isEqualTo(1);
        String shown = "a\\u001b[2Jb\\u0007c\\u202ed\\u000dsafe";
        assertThat(out.toString()).contains(shown);
        assertThat(err.toString()).contains(shown).contains("\\u0000");
        assertThat(out.toString() + err).doesNotContain("\u001b[2J", "\u0007", "\u202e", "\r", "\u0000");
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
        @CommandLine.Spec
        private CommandLine.Model.CommandSpec spec;

        @CommandLine.Parameters(arity = "0..1")
        private String how;

        @CommandLine.Parameters(index = "1", arity = "0..1")
        private String text;

        @Override
        public void run() {
            switch (how) {
                case null -> throw new IllegalStateException("recipe.yaml: pairs: expected a folder, got a file");
                case "memory" -> throw new OutOfMemoryError("Java heap space");
                case "wrapped" ->
                    throw new IllegalStateException("a corrupt image", new OutOfMemoryError("Java heap space"));
                case "cut" ->
                    throw new InternalError(
                            "a fault occurred in a recent unsafe memory access operation in compiled" + " Java code");
                case "rebuilt" -> throw new NoClassDefFoundError("org/smpo/X");
                case "print" -> {
                    spec.commandLine().getOut().println(text);
                    throw new IllegalStateException(text);
                }
                default -> throw new IllegalStateException();
            }
        }
    }
}
