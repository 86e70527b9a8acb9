package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Digest;
import org.smpo.iterate.TinyRounds;
import org.smpo.network.TinyClip;
import org.smpo.parallel.Ranks;
import org.smpo.train.TinyRun;

/// Commands that several processes share leave the files of one process.
@Timeout(600)
final class SharedWorkTest {
    @TempDir
    private Path temporary;

    /// Runs a command on all ranks, in threads of this process.
    private static List<Outcome> ranks(int size, Object... arguments) throws IOException, InterruptedException {
        int port = Ranks.freePort();
        List<Callable<Outcome>> calls = new ArrayList<>();
        for (int rank = 0; rank < size; rank++) {
            String world = rank + "/" + size + "@127.0.0.1:" + port;
            calls.add(() -> Outcome.smpo(Outcome.with(arguments, "--world", world)));
        }
        return Ranks.together(calls).stream().map(Ranks.Outcome::value).toList();
    }

    private static List<Outcome> succeed(int size, Object... arguments) throws IOException, InterruptedException {
        List<Outcome> outcomes = ranks(size, arguments);
        assertThat(outcomes)
                .allSatisfy(
                        outcome -> assertThat(outcome.code()).as(outcome.err()).isZero());
        return outcomes;
    }

    private static void assertSame(Path found, Path expected) throws IOException {
        assertThat(files(found)).as(found.toString()).isEqualTo(files(expected)).isNotEmpty();
    }

    private static Map<String, String> files(Path folder) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                digests.put(folder.relativize(file).toString(), Digest.sha256(file));
            }
        }
        return digests;
    }

    private Object[] generate(Path model, String out) throws IOException {
        Path prompts = Files.writeString(temporary.resolve("prompts.txt"), "a cat\na dog\na red house\n");
        return new Object[] {
            "generate",
            model,
            "--prompt-file",
            prompts,
            "--seed",
            "3,4,5",
            "--steps",
            2,
            "--height",
            64,
            "--width",
            64,
            "--batch",
            2,
            "--threads",
            1,
            "--save-latents",
            temporary.resolve(out).resolve("latents.safetensors"),
            "--out",
            temporary.resolve(out)
        };
    }

    @Test
    void generateLeavesTheImagesTheSheetAndTheLatentsOfOneProcess() throws IOException, InterruptedException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        for (String out : List.of("one", "two", "three")) {
            Files.createDirectories(temporary.resolve(out));
        }
        Outcome one = Outcome.smpo(generate(model, "one"));
        assertThat(one.code()).as(one.err()).isZero();
        List<Outcome> two = succeed(2, generate(model, "two"));
        succeed(3, generate(model, "three"));
        assertSame(temporary.resolve("two"), temporary.resolve("one"));
        assertSame(temporary.resolve("three"), temporary.resolve("one"));
        // Rank 0 prints what one process prints.
        assertThat(two.get(0).out()).isEqualTo(one.out().replace("/one/", "/two/"));
        assertThat(two.get(1).out()).isEmpty();
    }

    @Test
    void processesThatWouldGenerateOtherImagesAreRefused() throws IOException, InterruptedException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Files.createDirectories(temporary.resolve("out"));
        Path other = TinyModels.writeTrainable(temporary.resolve("other"));
        for (Outcome outcome : pair(generate(model, "out"), generate(other, "out"))) {
            assertThat(outcome.code()).isEqualTo(1);
            assertThat(outcome.err()).contains("rank 1: model: expected ");
        }
        Path broken = TinyModels.writeTrainable(temporary.resolve("broken"));
        Files.delete(broken.resolve("vae/config.json"));
        List<Outcome> outcomes = pair(generate(model, "out"), generate(broken, "out"));
        assertThat(outcomes.get(0).code()).isEqualTo(1);
        assertThat(outcomes.get(0).err()).contains("rank 1 failed: ", "broken");
        assertThat(outcomes.get(1).err()).doesNotContain("rank 1 failed");
    }

    /// Two ranks with different arguments.
    private static List<Outcome> pair(Object[] first, Object[] second) throws IOException, InterruptedException {
        int port = Ranks.freePort();
        return Ranks.<Outcome>together(List.of(
                        () -> Outcome.smpo(Outcome.with(first, "--world", "0/2@127.0.0.1:" + port)),
                        () -> Outcome.smpo(Outcome.with(second, "--world", "1/2@127.0.0.1:" + port))))
                .stream()
                .map(Ranks.Outcome::value)
                .toList();
    }

    private Object[] evaluate(Path model, Path other, Path reward, String out) {
        return new Object[] {
            "evaluate",
            "base=" + model,
            "other=" + other,
            "--prompts",
            temporary.resolve("prompts.txt"),
            "--images",
            3,
            "--reward",
            "clip=" + reward,
            "--steps",
            2,
            "--height",
            64,
            "--width",
            64,
            "--batch",
            2,
            "--threads",
            1,
            "--resamples",
            50,
            "--out",
            temporary.resolve(out)
        };
    }

    @Test
    void evaluateLeavesTheFolderOfOneProcess() throws IOException, InterruptedException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path other = TinyModels.writeTrainable(temporary.resolve("other"));
        Path reward = temporary.resolve("reward");
        TinyClip.write(reward, "vit_h", 1);
        Files.writeString(temporary.resolve("prompts.txt"), "a cat\na dog\na red house\n");
        Outcome one = Outcome.smpo(evaluate(model, other, reward, "one"));
        assertThat(one.code()).as(one.err()).isZero();
        for (int size : new int[] {2, 3}) {
            // The command line, with its folder, is part of the report.
            Files.move(temporary.resolve("one"), temporary.resolve("kept"));
            List<Outcome> outcomes = succeed(size, evaluate(model, other, reward, "one"));
            assertSame(temporary.resolve("one"), temporary.resolve("kept"));
            assertThat(outcomes.get(0).out()).isEqualTo(one.out());
            assertThat(outcomes.get(1).out()).isEmpty();
            Files.move(temporary.resolve("one"), temporary.resolve("of" + size));
            Files.move(temporary.resolve("kept"), temporary.resolve("one"));
        }
        // What one process began, two finish.
        Path folder = temporary.resolve("one");
        Map<String, String> whole = files(folder);
        List<String> lines = Files.readAllLines(folder.resolve("journal.jsonl"));
        Files.write(folder.resolve("journal.jsonl"), lines.subList(0, 5));
        Files.delete(folder.resolve("report.html"));
        succeed(2, evaluate(model, other, reward, "one"));
        assertThat(files(folder)).isEqualTo(whole);
    }

    @Test
    void cacheFillLeavesTheEntriesOfOneProcess() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 13);
        Path recipe = Files.writeString(temporary.resolve("recipe.yaml"), tiny.yaml("run"));
        List<Object> fill = List.of("cache", "fill", recipe, "--set", "data.held_out=3", "--dir");
        Object[] arguments = fill.toArray();
        Path one = temporary.resolve("one");
        Outcome alone = Outcome.smpo(Outcome.with(arguments, one));
        assertThat(alone.code()).as(alone.err()).isZero();
        assertThat(alone.out()).contains("cached: ", "cannot be read: 0");
        for (int size : new int[] {2, 3}) {
            Path shared = temporary.resolve("of" + size);
            List<Outcome> outcomes = succeed(size, Outcome.with(arguments, shared));
            assertSame(shared, one);
            assertThat(outcomes.get(0).out()).isEqualTo(alone.out());
            assertThat(outcomes.get(1).out()).isEmpty();
        }
        // Training the first epoch finds everything.
        Map<String, String> before = files(one);
        Outcome trained =
                Outcome.smpo("train", recipe, "--set", "data.held_out=3", "--set", "train.steps=3", "--cache", one);
        assertThat(trained.code()).as(trained.err()).isZero();
        assertThat(files(one).keySet()).isEqualTo(before.keySet());
    }

    @Test
    void iterateSharesItsStagesAndRepeats() throws IOException, InterruptedException {
        TinyRounds rounds = TinyRounds.in(temporary);
        Object[] iterate = {"iterate", rounds.recipe(), "--cache", rounds.cache()};
        Outcome alone = Outcome.smpo(iterate);
        assertThat(alone.code()).as(alone.err()).isZero();
        Path one = temporary.resolve("alone");
        Files.move(rounds.output(), one);
        succeed(2, iterate);
        // The images and pairs of the first round are made before any sum over processes.
        assertSame(rounds.output().resolve("round-01/images"), one.resolve("round-01/images"));
        assertSame(rounds.output().resolve("round-01/pairs"), one.resolve("round-01/pairs"));
        assertThat(rounds.output().resolve("report.html")).exists();
        Path two = temporary.resolve("shared");
        Files.move(rounds.output(), two);
        succeed(2, iterate);
        assertThat(TinyRounds.left(rounds.output())).isEqualTo(TinyRounds.left(two));
        List<Outcome> again = ranks(2, iterate);
        assertThat(again).allSatisfy(outcome -> assertThat(outcome.code()).isEqualTo(1));
        assertThat(again.get(0).err()).contains("has rounds already");
        assertThat(again.get(1).err()).contains("rank 0 failed: ", "has rounds already");
    }
}
