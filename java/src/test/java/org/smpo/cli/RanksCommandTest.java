package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.iterate.TinyRounds;
import org.smpo.parallel.Ranks;
import org.smpo.train.TinyRun;

/// Commands in several processes, as a launcher starts them: they end together, however one of them
/// ends.
@Timeout(600)
final class RanksCommandTest {
    private static final int STEPS = 30;

    @TempDir
    private Path temporary;

    private TinyRun tiny;
    private Path recipe;

    /// A process and what it has printed.
    private record Child(Process process, Queue<String> text, Thread reader) {
        static Child of(ProcessBuilder builder) throws IOException {
            Process process = builder.redirectErrorStream(true).start();
            Queue<String> text = new ConcurrentLinkedQueue<>();
            Thread reader = Thread.ofVirtual().start(() -> {
                try (BufferedReader lines =
                        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
                    lines.lines().forEach(text::add);
                } catch (UncheckedIOException | IOException e) {
                    text.add(e.toString());
                }
            });
            return new Child(process, text, reader);
        }

        int code() throws InterruptedException {
            int code = process.waitFor();
            reader.join();
            return code;
        }

        String output() {
            return String.join("\n", text);
        }
    }

    @BeforeEach
    void model() throws IOException {
        tiny = TinyRun.in(temporary, 9);
        recipe = Files.writeString(temporary.resolve("recipe.yaml"), tiny.yaml("run"));
    }

    private ProcessBuilder smpo(String... arguments) {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Dsmpo.library=" + System.getProperty("smpo.library"),
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName()));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command);
    }

    private String[] train(String... more) {
        List<String> all = new ArrayList<>(List.of(
                "train",
                recipe.toString(),
                "--cache",
                tiny.cache().toString(),
                "--set",
                "train.steps=" + STEPS,
                "--set",
                "objective.beta=20",
                "--set",
                "checkpoint={every: 1, keep: 2}",
                "--set",
                "train.pairs_per_step=4"));
        all.addAll(List.of(more));
        return all.toArray(new String[0]);
    }

    /// Starts the ranks with the variables that torchrun sets.
    private List<Child> start(int size, String... arguments) throws IOException {
        int port = Ranks.freePort();
        List<Child> children = new ArrayList<>();
        for (int rank = 0; rank < size; rank++) {
            ProcessBuilder builder = smpo(arguments);
            builder.environment()
                    .putAll(Map.of(
                            "RANK", "" + rank,
                            "LOCAL_RANK", "" + rank,
                            "WORLD_SIZE", "" + size,
                            "LOCAL_WORLD_SIZE", "" + size,
                            "MASTER_ADDR", "127.0.0.1",
                            "MASTER_PORT", "" + port));
            children.add(Child.of(builder));
        }
        return children;
    }

    private void awaitCheckpoint(List<Child> children) throws IOException, InterruptedException {
        awaitCheckpoint(children, tiny.output("run"));
    }

    private static void awaitCheckpoint(List<Child> children, Path run) throws IOException, InterruptedException {
        Path checkpoints = run.resolve("checkpoints");
        while (children.stream().allMatch(child -> child.process().isAlive())) {
            if (Files.isDirectory(checkpoints)) {
                try (Stream<Path> all = Files.list(checkpoints)) {
                    if (all.anyMatch(folder -> folder.getFileName().toString().matches("step-\\d+"))) {
                        return;
                    }
                }
            }
            Thread.sleep(10);
        }
    }

    private void whole() throws IOException, InterruptedException {
        for (Child child : start(2, train())) {
            assertThat(child.code()).as(child.output()).isZero();
        }
        tiny.rename("run", "whole");
    }

    private void resume() throws IOException, InterruptedException {
        boolean begun = Files.exists(tiny.output("run").resolve("recipe.yaml"));
        for (Child child : start(2, begun ? train("--resume") : train())) {
            assertThat(child.code()).as(child.output()).isZero();
        }
        tiny.assertSame("run", tiny.left("whole"));
    }

    /// Four kills; fifty with `-Dsmpo.slow=true`.
    @Test
    @Timeout(3600)
    void aKilledRankEndsAllAndTheRunResumesWithTheSameBits() throws IOException, InterruptedException {
        whole();
        Random random = new Random();
        int kills = Boolean.getBoolean("smpo.slow") ? 50 : 4;
        int named = 0;
        for (int kill = 0; kill < kills; kill++) {
            int victim = kill % 2;
            List<Child> children = start(2, train());
            awaitCheckpoint(children);
            Thread.sleep(random.nextInt(300));
            children.get(victim).process().toHandle().destroyForcibly();
            Child other = children.get(1 - victim);
            assertThat(other.process().waitFor(60, TimeUnit.SECONDS))
                    .as("the other rank ends")
                    .isTrue();
            children.get(victim).code();
            if (other.code() != 0) {
                assertThat(other.output()).contains("lost rank " + victim + ", which has ended or hangs");
                named++;
            }
            resume();
            tiny.rename("run", "killed" + kill);
        }
        assertThat(named).as("kills before the end of the run").isPositive();
    }

    @Test
    void aRankThatIsAskedToEndWritesACheckpointAndEndsAll() throws IOException, InterruptedException {
        whole();
        for (int asked = 0; asked < 2; asked++) {
            List<Child> children = start(2, train());
            awaitCheckpoint(children);
            // SIGTERM, as a scheduler sends it.
            children.get(asked).process().toHandle().destroy();
            int code = children.get(asked).code();
            children.get(1 - asked).code();
            String all = children.get(0).output() + children.get(1).output();
            assertThat(code).as(all).isIn(143, 0);
            if (code == 143) {
                assertThat(children.get(0).output()).contains("stopped after step", "the newest checkpoint is");
                assertThat(children.get(1 - asked).code()).as(all).isIn(130, 143);
                resume();
            }
            tiny.rename("run", "asked" + asked);
        }
    }

    /// Asked in a training, which then writes a checkpoint, or in another stage, which begins again.
    @Test
    void roundsEndTogetherAndResumeWithTheSameBits() throws IOException, InterruptedException {
        TinyRounds rounds = TinyRounds.in(temporary.resolve("rounds"));
        String[] iterate = {
            "iterate", rounds.recipe().toString(), "--cache", rounds.cache().toString()
        };
        for (Child child : start(2, iterate)) {
            assertThat(child.code()).as(child.output()).isZero();
        }
        Files.move(rounds.output(), temporary.resolve("undisturbed"));
        for (int asked = 0; asked < 2; asked++) {
            List<Child> children = start(2, iterate);
            if (asked == 0) {
                awaitCheckpoint(children, rounds.output().resolve("round-01/run"));
            } else {
                Path images = rounds.output().resolve("round-01/images/pictures");
                while (Files.notExists(images)
                        && children.stream().allMatch(child -> child.process().isAlive())) {
                    Thread.sleep(5);
                }
            }
            children.get(asked).process().toHandle().destroy();
            for (Child child : children) {
                assertThat(child.process().waitFor(60, TimeUnit.SECONDS)).isTrue();
                child.code();
            }
            String[] resume =
                    Stream.concat(Stream.of(iterate), Stream.of("--resume")).toArray(String[]::new);
            boolean begun = Files.exists(rounds.output().resolve("rounds.yaml"));
            for (Child child : start(2, begun ? resume : iterate)) {
                assertThat(child.code()).as(child.output()).isZero();
            }
            assertThat(TinyRounds.left(rounds.output())).isEqualTo(TinyRounds.left(temporary.resolve("undisturbed")));
            Files.move(rounds.output(), temporary.resolve("asked" + asked));
        }
    }

    /// torchrun beside the Python of `SMPO_PEER_PYTHON`, which has PyTorch.
    @Test
    void torchrunStartsTheRanks() throws IOException, InterruptedException {
        String python = System.getenv("SMPO_PEER_PYTHON");
        assumeTrue(python != null, "SMPO_PEER_PYTHON names a Python with torchrun");
        List<String> command = new ArrayList<>(List.of(
                Path.of(python).resolveSibling("torchrun").toString(),
                "--no-python",
                "--nproc-per-node",
                "2",
                "--rdzv-backend",
                "c10d",
                "--rdzv-endpoint",
                "127.0.0.1:" + Ranks.freePort()));
        command.addAll(smpo(train("--set", "train.steps=4")).command());
        Child launched = Child.of(new ProcessBuilder(command));
        assertThat(launched.code()).as(launched.output()).isZero();
        assertThat(Files.readString(tiny.output("run").resolve("manifest.json")))
                .contains("\"ranks\": 2");
        tiny.rename("run", "torchrun");
        for (Child child : start(2, train("--set", "train.steps=4"))) {
            assertThat(child.code()).as(child.output()).isZero();
        }
        tiny.assertSame("run", tiny.left("torchrun"));
    }

    @Test
    void launchStartsTheRanks() throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("launch", "-n", "2"));
        command.addAll(List.of(train("--set", "train.steps=4")));
        Child launched = Child.of(smpo(command.toArray(new String[0])));
        assertThat(launched.code()).as(launched.output()).isZero();
        assertThat(launched.output())
                .contains(
                        "rank 1 of 2: waiting for the others",
                        tiny.output("run").resolve("model").toString());
        assertThat(Files.readString(tiny.output("run").resolve("manifest.json")))
                .contains("\"ranks\": 2");
        Child again = Child.of(smpo(command.toArray(new String[0])));
        assertThat(again.code()).as(again.output()).isEqualTo(1);
        assertThat(again.output()).contains("has a run already", "rank 0 failed: ");
    }

    @Test
    void wrongWorldsAreRefused() throws IOException, InterruptedException {
        Outcome alone =
                Outcome.smpo((Object[]) train("--world", "0/2@127.0.0.1:" + Ranks.freePort(), "--join-timeout", "1"));
        assertThat(alone.code()).isEqualTo(1);
        assertThat(alone.err()).contains("no sign of rank 1 within 1000 ms");
        Outcome wrong = Outcome.smpo((Object[]) train("--world", "2/2@127.0.0.1:5000"));
        assertThat(wrong.code()).isEqualTo(2);
        assertThat(wrong.err()).contains("--world: rank: expected 0 to 1 of 2 processes, got 2");
        Outcome never = Outcome.smpo((Object[]) train("--peer-timeout", "0"));
        assertThat(never.code()).isEqualTo(2);
        assertThat(never.err()).contains("--peer-timeout: expected 1 to");
        Outcome dry = Outcome.smpo((Object[]) train("--dry-run", "--world", "0/2@127.0.0.1:5000"));
        assertThat(dry.code()).isEqualTo(2);
        assertThat(dry.err()).contains("--dry-run: expected one process, got 2");
        Outcome other = Outcome.smpo("launch", "-n", "2", "doctor");
        assertThat(other.code()).isEqualTo(2);
        assertThat(other.err())
                .contains("COMMAND: expected one whose work several processes can share (", "train", "), got doctor");
        Outcome none = Outcome.smpo("launch", "-n", "0", "train", "x");
        assertThat(none.code()).isEqualTo(2);
        assertThat(none.err()).contains("--processes: expected 1 to");
    }
}
