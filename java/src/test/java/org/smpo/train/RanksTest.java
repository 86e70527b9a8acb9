package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.FloatTensor;
import org.smpo.network.TinyClip;
import org.smpo.parallel.PeerException;
import org.smpo.parallel.Peers;
import org.smpo.parallel.Ranks;
import org.smpo.recipe.Recipe;

/// Runs that two and three ranks share agree with runs of one process.
@Timeout(300)
final class RanksTest {
    /// A small beta: the logit multiplies the rounding of the errors by it.
    private static final String SMPO = "objective={method: smpo, beta: 20}";

    private static final String[] TEN = {
        SMPO,
        "train.steps=10",
        "train.pairs_per_step=6",
        "train.micro_batch=1",
        "checkpoint.every=5",
        "evaluate.every=5",
        "data.held_out=20",
        "samples={every: 10, prompts: [a cat, a dog, a house], steps: 2}"
    };

    @TempDir
    private Path temporary;

    private static TrainingResult train(TinyRun tiny, Recipe recipe, boolean resume, Peers peers, TinyRun.Said said)
            throws IOException, InterruptedException {
        try (Trainer trainer = Trainer.open(recipe, resume, tiny.cache(), peers, said)) {
            said.watch(trainer);
            return trainer.run();
        }
    }

    private static List<TrainingResult> train(TinyRun tiny, Recipe recipe, int ranks)
            throws IOException, InterruptedException {
        return Ranks.run(ranks, peers -> train(tiny, recipe, false, peers, new TinyRun.Said()));
    }

    /// Leaves the run of one process as `one` and that of two as `run`.
    private static void assertTwoAgreeWithOne(TinyRun tiny, Recipe recipe) throws IOException, InterruptedException {
        tiny.run(recipe);
        tiny.rename("run", "one");
        train(tiny, recipe, 2);
        assertClose(tiny, "run", "one");
    }

    private static void assertClose(TinyRun tiny, String name, String expected) throws IOException {
        double[] losses = tiny.losses(name);
        double[] wanted = tiny.losses(expected);
        assertThat(losses).hasSameSizeAs(wanted);
        for (int step = 0; step < losses.length; step++) {
            assertThat(losses[step]).as("step " + step).isCloseTo(wanted[step], within(1e-6 * Math.abs(wanted[step])));
        }
        Map<String, FloatTensor> weights = weights(tiny, name);
        Map<String, FloatTensor> own = weights(tiny, expected);
        assertThat(weights.keySet()).isEqualTo(own.keySet());
        double difference = 0;
        double norm = 0;
        for (String tensor : own.keySet()) {
            float[] found = weights.get(tensor).values();
            float[] values = own.get(tensor).values();
            for (int i = 0; i < values.length; i++) {
                difference += Math.pow(found[i] - values[i], 2);
                norm += Math.pow(values[i], 2);
            }
        }
        assertThat(Math.sqrt(difference / norm))
                .as("relative difference of weights")
                .isLessThan(1e-6);
    }

    private static Map<String, FloatTensor> weights(TinyRun tiny, String name) throws IOException {
        return FloatTensor.readAll(tiny.output(name).resolve("checkpoints/step-000010/policy.safetensors"));
    }

    @Test
    void twoAndThreeRanksAgreeWithOneAndRepeatBitForBit() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 40);
        Recipe recipe = tiny.recipe("run", TEN);
        tiny.run(recipe);
        tiny.rename("run", "one");
        List<Map<String, Object>> log = tiny.log("one");
        for (int ranks : new int[] {2, 3}) {
            List<TrainingResult> results = train(tiny, recipe, ranks);
            assertThat(results)
                    .allSatisfy(result -> assertThat(result.finished()).isTrue());
            assertThat(results.get(1).written()).isEmpty();
            tiny.rename("run", "first" + ranks);
            train(tiny, recipe, ranks);
            tiny.assertSame("run", tiny.left("first" + ranks));
            tiny.rename("run", "second" + ranks);
            assertClose(tiny, "first" + ranks, "one");
            assertThat(Files.readString(tiny.output("first" + ranks).resolve("manifest.json")))
                    .contains("\"ranks\": " + ranks);
            // The same events about the same pairs.
            List<Map<String, Object>> shared = tiny.log("first" + ranks);
            assertThat(shared).hasSameSizeAs(log);
            for (int i = 0; i < log.size(); i++) {
                assertThat(shared.get(i).keySet()).isEqualTo(log.get(i).keySet());
                assertThat(shared.get(i).get("pairs")).isEqualTo(log.get(i).get("pairs"));
            }
            assertThat(tiny.output("first" + ranks).resolve("samples/step-000010"))
                    .isDirectoryContaining("glob:**.png");
        }
        assertThat(Files.readString(tiny.output("first2").resolve("log.jsonl")))
                .contains("all_reduce_seconds", "all_reduce_share", "waiting_seconds");
    }

    /// Five pairs for two ranks.
    @Test
    void sharesMayDiffer() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        Recipe recipe = tiny.recipe(
                "run",
                SMPO,
                "learning_rate={value: 1e-4, schedule: constant, warmup_steps: 0}",
                "train.steps=10",
                "train.pairs_per_step=5",
                "train.micro_batch=1",
                "checkpoint.every=10");
        assertTwoAgreeWithOne(tiny, recipe);
    }

    @Test
    void unreadablePairsOfOneRankAreCounted() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        for (int pair = 0; pair < 12; pair += 2) {
            Files.writeString(tiny.data().resolve(pair + "_0.png"), "no image");
        }
        String[] overrides = {
            SMPO,
            "train.steps=10",
            "train.pairs_per_step=2",
            "train.micro_batch=1",
            "data.max_bad_fraction=0.9",
            "data.held_out=0",
            "checkpoint.every=10"
        };
        Recipe recipe = tiny.recipe("run", overrides);
        assertTwoAgreeWithOne(tiny, recipe);
        assertThat(tiny.log("run")).anySatisfy(event -> assertThat(event).containsKey("skipped"));
        for (int i = 0; i < tiny.log("one").size(); i++) {
            assertThat(tiny.log("run").get(i).get("skipped"))
                    .isEqualTo(tiny.log("one").get(i).get("skipped"));
        }
    }

    /// Its mean gain is over the pairs of all ranks.
    @Test
    void ktoAgreesToo() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        String[] kto = {
            "objective={method: kto, beta: 5}",
            "inversion=none",
            "learning_rate={value: 1e-4, schedule: constant, warmup_steps: 0}",
            "train.steps=10",
            "train.pairs_per_step=4",
            "train.micro_batch=1",
            "checkpoint.every=10"
        };
        Recipe recipe = tiny.recipe("run", kto);
        assertTwoAgreeWithOne(tiny, recipe);
    }

    /// Each image by itself, with KTO's mean gain over those of all ranks.
    @Test
    void singleImagesAgreeToo() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        for (String share : List.of("none", "0.7")) {
            Recipe recipe = tiny.recipe(
                    "run",
                    "objective={method: kto, beta: 1}",
                    "inversion=none",
                    "data.images=both",
                    "data.desirable_share=" + share,
                    "data.held_out=3",
                    "evaluate.every=5",
                    "learning_rate={value: 1e-4, schedule: constant, warmup_steps: 0}",
                    "train.steps=10",
                    "train.pairs_per_step=5",
                    "train.micro_batch=1",
                    "checkpoint.every=10");
            assertTwoAgreeWithOne(tiny, recipe);
            for (int i = 0; i < tiny.log("one").size(); i++) {
                assertThat(tiny.log("run").get(i).get("pairs"))
                        .isEqualTo(tiny.log("one").get(i).get("pairs"));
            }
            tiny.rename("run", "two" + share);
            tiny.rename("one", "one" + share);
        }
    }

    private Recipe rollouts(TinyRun tiny, String... overrides) throws IOException {
        Path prompts = Files.writeString(temporary.resolve("prompts.txt"), "a cat\na dog\ntwo birds\n");
        Path reward = temporary.resolve("clip");
        if (Files.notExists(reward)) {
            TinyClip.write(reward, "vit_h", 1);
        }
        return RolloutTest.recipe(tiny, prompts, reward, "run", overrides);
    }

    /// Each rank rolls out its prompts and trains on its share of all choices.
    @Test
    void trajectoriesAgreeToo() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        for (String method : List.of("{method: spo, beta: 1, clip: 0.1}", "{method: tailorpo, beta: 1}")) {
            Recipe recipe = rollouts(
                    tiny,
                    "objective=" + method,
                    "learning_rate={value: 1e-4, schedule: constant, warmup_steps: 0}",
                    "trajectory.prompts_per_rollout=3",
                    "train.steps=10",
                    "train.pairs_per_step=2",
                    "checkpoint.every=10");
            assertTwoAgreeWithOne(tiny, recipe);
            List<Map<String, Object>> one = tiny.log("one");
            List<Map<String, Object>> two = tiny.log("run");
            assertThat(two).hasSameSizeAs(one);
            for (int i = 0; i < one.size(); i++) {
                for (String number : List.of("event", "compared", "kept", "pairs")) {
                    assertThat(two.get(i).get(number)).isEqualTo(one.get(i).get(number));
                }
            }
            tiny.rename("run", "two" + method.length());
            tiny.rename("one", "one" + method.length());
        }
    }

    @Test
    void aRankThatStopsARolloutStopsAll() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Recipe recipe = rollouts(tiny, "trajectory.prompts_per_rollout=3", "train.steps=6", "train.pairs_per_step=2");
        train(tiny, recipe, 2);
        tiny.rename("run", "whole");
        List<TrainingResult> stopped = Ranks.run(2, peers -> {
            TinyRun.Said said = new TinyRun.Said();
            said.stopAfter = peers.world().rank() == 1 ? 3 : -1;
            return train(tiny, recipe, false, peers, said);
        });
        assertThat(stopped).allSatisfy(result -> assertThat(result.ending()).isEqualTo(TrainingResult.Ending.STOPPED));
        Ranks.run(2, peers -> train(tiny, recipe, true, peers, new TinyRun.Said()));
        tiny.assertSame("run", tiny.left("whole"));
    }

    /// Its weights depend on the losses of the whole batch, also where a rank has no pair.
    @Test
    void doraAgreesToo() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        for (int pair = 0; pair < 12; pair += 2) {
            Files.writeString(tiny.data().resolve(pair + "_0.png"), "no image");
        }
        String[] dora = {
            "objective={method: dpo, beta: 20, dora: {lambda: 0.1}}",
            "inversion=none",
            "learning_rate={value: 1e-4, schedule: constant, warmup_steps: 0}",
            "labels.weights=" + DoraTest.weights(temporary.resolve("weights.parquet"), tiny, 12, 0.2),
            "train.steps=10",
            "train.pairs_per_step=3",
            "train.micro_batch=1",
            "data.max_bad_fraction=0.9",
            "data.held_out=0",
            "checkpoint.every=10"
        };
        Recipe recipe = tiny.recipe("run", dora);
        assertTwoAgreeWithOne(tiny, recipe);
        for (String number : List.of("weighted_loss", "effective_pairs")) {
            for (int step = 0; step < 10; step++) {
                Object one = tiny.log("one").get(step).get(number);
                Object two = tiny.log("run").get(step).get(number);
                assertThat(two == null).isEqualTo(one == null);
                if (one != null) {
                    assertThat((Double) two).isCloseTo((Double) one, within(1e-6 * (Double) one));
                }
            }
        }
        assertThat(tiny.log("run"))
                .anySatisfy(event ->
                        assertThat((Double) event.get("effective_pairs")).isGreaterThan(1.001));
    }

    /// Weights, moments and EMA weights, after a checkpoint too, and whatever the number of ranks that wrote it.
    @Test
    void aSharedOptimizerHasTheBitsOfAWholeOne() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 40);
        String[] settings = {
            SMPO,
            "train.weights=full",
            "train.ema=0.9",
            "train.steps=6",
            "train.pairs_per_step=6",
            "train.micro_batch=1",
            "checkpoint={every: 2, keep: 3}",
            "inversion={semantics: exact, steps: 2, network: ema}",
            "export.formats=[diffusers]"
        };
        Recipe whole = tiny.recipe("run", settings);
        Recipe shared = tiny.recipe("run", with(settings, "train.shard_optimizer=true"));
        for (int ranks : new int[] {2, 3}) {
            train(tiny, whole, ranks);
            tiny.rename("run", "whole" + ranks);
            train(tiny, shared, ranks);
            assertSameResults(tiny, "run", "whole" + ranks);
            tiny.rename("run", "shared" + ranks);
            // Stopped and resumed.
            Ranks.run(ranks, peers -> {
                TinyRun.Said said = new TinyRun.Said();
                said.stopAfter = peers.world().isFirst() ? 3 : -1;
                return train(tiny, shared, false, peers, said);
            });
            Ranks.run(ranks, peers -> train(tiny, shared, true, peers, new TinyRun.Said()));
            tiny.assertSame("run", tiny.left("shared" + ranks));
            tiny.rename("run", "resumed" + ranks);
        }
        // One format: two ranks stop, then share no longer.
        Ranks.run(2, peers -> {
            TinyRun.Said said = new TinyRun.Said();
            said.stopAfter = peers.world().isFirst() ? 3 : -1;
            return train(tiny, shared, false, peers, said);
        });
        Ranks.run(2, peers -> train(tiny, whole, true, peers, new TinyRun.Said()));
        assertSameResults(tiny, "run", "whole2");
        tiny.rename("run", "mixed");
        // And one process resumes what three shared.
        Ranks.run(3, peers -> {
            TinyRun.Said said = new TinyRun.Said();
            said.stopAfter = peers.world().isFirst() ? 3 : -1;
            return train(tiny, shared, false, peers, said);
        });
        TinyRun.Said said = new TinyRun.Said();
        assertThat(train(tiny, whole, true, Peers.alone(), said).finished()).isTrue();
        assertThat(said.warnings)
                .anySatisfy(warning -> assertThat(warning).contains("ranks: the run was begun with 3"));
    }

    private static String[] with(String[] settings, String... more) {
        return Stream.concat(Arrays.stream(settings), Arrays.stream(more)).toArray(String[]::new);
    }

    /// Compares everything but the recipe, whose digest is in several files.
    private static void assertSameResults(TinyRun tiny, String name, String expected) throws IOException {
        Map<String, String> found = tiny.left(name);
        Map<String, String> wanted = tiny.left(expected);
        for (String checkpoint : List.of("step-000002", "step-000004", "step-000006")) {
            for (String file : List.of("policy.safetensors", "optimizer.safetensors")) {
                String path = "checkpoints/" + checkpoint + "/" + file;
                assertThat(found.get(path)).as(path).isEqualTo(wanted.get(path)).isNotNull();
            }
        }
        assertThat(tiny.losses(name)).isEqualTo(tiny.losses(expected));
    }

    @Test
    void adafactorIsNotShared() {
        TinyRun tiny = TinyRun.at(temporary);
        assertThatThrownBy(() -> tiny.recipe("run", "optimizer.name=adafactor", "train.shard_optimizer=true"))
                .hasMessageContaining("train.shard_optimizer: adafactor keeps statistics of whole matrices");
    }

    @Test
    void aRolloutHasAPromptForEachRank() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        refused(
                tiny,
                rollouts(tiny, "trajectory.prompts_per_rollout=1", "train.pairs_per_step=2"),
                "trajectory.prompts_per_rollout: expected at least 2, one for each process, found 1");
    }

    private static void refused(TinyRun tiny, Recipe recipe, String message) throws IOException, InterruptedException {
        for (Ranks.Outcome<TrainingResult> outcome :
                Ranks.outcomes(2, peers -> train(tiny, recipe, false, peers, new TinyRun.Said()))) {
            assertThat(outcome.message()).contains(message);
        }
    }

    @Test
    void aStopOfAnyRankStopsAllAndTheRunResumesWithTheSameBits() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 40);
        Recipe recipe = tiny.recipe("run", TEN);
        train(tiny, recipe, 2);
        tiny.rename("run", "whole");
        for (int stopped : new int[] {0, 1}) {
            List<TrainingResult> results = Ranks.run(2, peers -> {
                TinyRun.Said said = new TinyRun.Said();
                said.stopAfter = peers.world().rank() == stopped ? 5 : -1;
                return train(tiny, recipe, false, peers, said);
            });
            assertThat(results).allSatisfy(result -> {
                assertThat(result.ending()).isEqualTo(TrainingResult.Ending.STOPPED);
                assertThat(result.steps()).isEqualTo(5);
            });
            Ranks.run(2, peers -> train(tiny, recipe, true, peers, new TinyRun.Said()));
            tiny.assertSame("run", tiny.left("whole"));
            tiny.rename("run", "stopped" + stopped);
        }
    }

    @Test
    void aRunResumesWithAnotherNumberOfRanks() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 40);
        Recipe recipe = tiny.recipe("run", TEN);
        tiny.run(recipe);
        tiny.rename("run", "one");
        Ranks.run(3, peers -> {
            TinyRun.Said said = new TinyRun.Said();
            said.stopAfter = 4;
            return train(tiny, recipe, false, peers, said);
        });
        List<TinyRun.Said> said = Ranks.run(2, peers -> {
            TinyRun.Said own = new TinyRun.Said();
            train(tiny, recipe, true, peers, own);
            return own;
        });
        assertClose(tiny, "run", "one");
        assertThat(said.getFirst().messages).contains("resuming after step 4");
        assertThat(said.getFirst().warnings)
                .anySatisfy(warning -> assertThat(warning)
                        .contains("ranks: the run was begun with 3, found 2; the last bits of the result may differ"));
    }

    @Test
    void ranksThatDisagreeAreRefused() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        for (Ranks.Outcome<TrainingResult> outcome : Ranks.outcomes(2, peers -> {
            Recipe recipe = tiny.recipe("run", "seed=" + (7 + peers.world().rank()));
            return train(tiny, recipe, false, peers, new TinyRun.Said());
        })) {
            assertThat(outcome.failure())
                    .isInstanceOf(PeerException.class)
                    .hasMessageContaining("rank 1: recipe: expected seed: 7, as on rank 0, found seed: 8");
        }
        assertThat(tiny.output("run").resolve("recipe.yaml")).doesNotExist();
        Path other = temporary.resolve("other");
        TinyRun second = TinyRun.in(other, 12);
        for (Ranks.Outcome<TrainingResult> outcome : Ranks.outcomes(2, peers -> {
            Path data = peers.world().rank() == 0 ? tiny.data() : second.data();
            if (peers.world().rank() == 1) {
                Path lines = second.data().resolve("pairs.jsonl");
                Files.writeString(lines, Files.readString(lines).replace("cat number 3", "dog number 3"));
            }
            Recipe recipe = tiny.recipe("run", "data.paths=[" + data + "]");
            return train(tiny, recipe, false, peers, new TinyRun.Said());
        })) {
            assertThat(outcome.failure())
                    .isInstanceOf(PeerException.class)
                    .hasMessageContaining("rank 1: data.fingerprint: expected ");
        }
        // The same data at another path.
        TinyRun third = TinyRun.in(temporary.resolve("third"), 12);
        List<TrainingResult> results = Ranks.run(2, peers -> {
            Path data = peers.world().isFirst() ? tiny.data() : third.data();
            Recipe recipe = tiny.recipe("run", "data.paths=[" + data + "]");
            return train(tiny, recipe, false, peers, new TinyRun.Said());
        });
        assertThat(results).allSatisfy(result -> assertThat(result.finished()).isTrue());
    }

    @Test
    void theFailureOfOneRankEndsAllWithItsMessage() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        List<Ranks.Outcome<TrainingResult>> outcomes = Ranks.outcomes(2, peers -> {
            Recipe recipe = peers.world().rank() == 1
                    ? tiny.recipe("run", "model=" + temporary.resolve("none"))
                    : tiny.recipe("run");
            return train(tiny, recipe, false, peers, new TinyRun.Said());
        });
        assertThat(outcomes.get(0).message()).contains("rank 1 failed: ", "none");
        assertThat(outcomes.get(1).failure()).isNotInstanceOf(PeerException.class);
        // Rank 0's: the folder has a run.
        tiny.run(tiny.recipe("run"));
        outcomes = Ranks.outcomes(2, peers -> train(tiny, tiny.recipe("run"), false, peers, new TinyRun.Said()));
        assertThat(outcomes.get(0).message()).contains("has a run already");
        assertThat(outcomes.get(1).message()).contains("rank 0 failed: ", "has a run already");
    }

    @Test
    void aStepHasAPairForEachRank() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 12);
        for (Ranks.Outcome<TrainingResult> outcome : Ranks.outcomes(
                3,
                peers -> train(tiny, tiny.recipe("run", "train.pairs_per_step=2"), false, peers, new TinyRun.Said()))) {
            assertThat(outcome.message())
                    .contains("train.pairs_per_step: expected at least 3, one for each process, found 2");
        }
    }
}
