package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.iterate.TinyRounds;
import org.smpo.reward.ScoreTable;
import org.smpo.reward.TintedPairs;

/// `smpo iterate` on tiny models, as a user runs it.
final class IterateTest {
    /// Files that rounds have and the commands of their stages do not write.
    private static final Set<String> OF_ROUNDS = Set.of(
            ".lock", "rounds.yaml", "manifest.json", "report.html", "round-01/round.json", "round-02/round.json");

    @TempDir
    private Path temporary;

    private static Outcome iterate(TinyRounds rounds, Object... more) {
        return smpo(Outcome.with(new Object[] {"iterate", rounds.recipe(), "--cache", rounds.cache()}, more));
    }

    private static Outcome succeed(TinyRounds rounds, Object... more) {
        Outcome outcome = iterate(rounds, more);
        assertThat(outcome.code()).as(outcome.err()).isZero();
        return outcome;
    }

    private static void refuse(TinyRounds rounds, int code, String message, Object... more) {
        Outcome outcome = iterate(rounds, more);
        assertThat(outcome.err()).contains(message).doesNotContain("\tat ");
        assertThat(outcome.code()).isEqualTo(code);
    }

    private static List<String> commands(String dryRun) {
        return dryRun.lines().filter(line -> line.startsWith("smpo ")).toList();
    }

    /// Two rounds, then the same by the printed commands, then everything again.
    @Test
    void twoRoundsAreTheirCommands() throws IOException {
        TinyRounds rounds = TinyRounds.in(temporary);
        Outcome dry = succeed(rounds, "--dry-run");
        assertThat(dry.out()).contains("rounds:", "2 rounds, 21 images, 6 training steps");
        assertThat(rounds.output()).doesNotExist();
        List<String> commands = commands(dry.out());
        assertThat(commands).hasSize(7);

        Outcome whole = succeed(rounds);
        assertThat(whole.out().strip())
                .isEqualTo(rounds.output().resolve("report.html").toString());
        for (int i = 0; i < commands.size(); i++) {
            assertThat(whole.err()).contains("[" + (i + 1) + "/7] " + commands.get(i));
        }
        Map<String, String> expected = TinyRounds.left(rounds.output());
        assertRounds(rounds.output());

        Outcome again = succeed(rounds, "--resume");
        assertThat(again.err()).contains("[1/7] round 1: images: done before", "[7/7] evaluation: done before");
        assertThat(TinyRounds.left(rounds.output())).isEqualTo(expected);
        refuse(rounds, 1, "has rounds already; continue them with --resume");
        assertTyped(rounds, commands, expected);
    }

    /// The commands, typed, leave the files that rounds leave.
    private void assertTyped(TinyRounds rounds, List<String> commands, Map<String, String> expected)
            throws IOException {
        // The commands need the files that rounds write for them.
        Path moved = Files.move(rounds.output(), temporary.resolve("moved"));
        for (String input : List.of("round-01/prompts.json", "round-02/prompts.json")) {
            Files.createDirectories(rounds.output().resolve(input).getParent());
            Files.copy(moved.resolve(input), rounds.output().resolve(input));
        }
        for (String input : List.of("round-01/train.yaml", "round-02/train.yaml")) {
            Files.copy(moved.resolve(input), rounds.output().resolve(input));
        }
        for (String command : commands) {
            Outcome typed = smpo((Object[]) command.substring("smpo ".length()).split(" ", -1));
            assertThat(typed.code()).as(command + "\n" + typed.err()).isZero();
        }
        Map<String, String> typed = TinyRounds.left(rounds.output());
        expected.keySet().removeAll(OF_ROUNDS);
        typed.keySet().removeAll(OF_ROUNDS);
        assertThat(typed.keySet()).isEqualTo(expected.keySet());
        assertThat(expected.keySet().stream()
                        .filter(file -> !typed.get(file).equals(expected.get(file)))
                        .toList())
                .isEmpty();
    }

    private void assertRounds(Path output) throws IOException {
        // Two prompts of three in each round, the second round beginning again at the end of the file.
        assertThat(prompts(output.resolve("round-01/prompts.json"))).containsExactly("a cat", "a red house");
        assertThat(prompts(output.resolve("round-02/prompts.json"))).containsExactly("a dog", "a cat");
        JsonObject first = Json.readObject(output.resolve("round-01/round.json"));
        JsonObject second = Json.readObject(output.resolve("round-02/round.json"));
        assertThat(first.string("model")).isEqualTo("base");
        assertThat(second.string("model")).isEqualTo("round-01");
        assertThat(first.integer("pairs")).isEqualTo(2);
        assertThat(first.integer("steps")).isEqualTo(3);
        assertThat(first.object("rewards").keys()).containsExactlyInAnyOrder("one", "two");
        // The second round generates with the tuned model, begins with it, and is held against the first.
        assertThat(Files.readString(output.resolve("round-02/run/recipe.yaml")))
                .contains(
                        "model: " + output.resolve("round-01/run/model") + "\n",
                        "reference: " + temporary.resolve("model") + "\n",
                        "seed: 5\n");
        assertThat(output.resolve("round-01/images/pictures/0-base/00000-" + (3 + (1L << 32)) + ".png"))
                .exists();
        assertThat(output.resolve("round-02/images/pictures/0-round-01/00000-" + (3 + (2L << 32)) + ".png"))
                .exists();
        assertThat(Files.readString(output.resolve("report.html")))
                .contains("Rounds of tuning model", "2 of 2 rounds are finished", "difference from base", "round-02");
    }

    /// Two rounds whose reward is trained, then the same by the printed commands. The reward has no image processor of
    /// its own.
    @Test
    void roundsWithATrainedRewardAreTheirCommands() throws IOException {
        TinyRounds rounds = TinyRounds.withTraining(temporary);
        Files.delete(temporary.resolve("one/preprocessor_config.json"));
        refuse(rounds, 1, "preprocessor_config.json");
        Path processor = temporary.resolve("two");
        Files.writeString(
                rounds.recipe(),
                Files.readString(rounds.recipe())
                        .replace("reward_training:", "processor: '" + processor + "'\n  reward_training:"));
        List<String> commands = commands(succeed(rounds, "--dry-run").out());
        assertThat(commands).hasSize(11);
        assertThat(commands.get(1))
                .startsWith("smpo reward fit one=" + temporary.resolve("one") + " --pairs " + rounds.human()
                        + " --generated " + rounds.output().resolve("round-01/images") + " --game-weight 0.1");
        Path head = rounds.output().resolve("round-01/reward");
        assertThat(commands.get(2))
                .isEqualTo(commands.get(0).replace(" --processor", " --reward one-head=head:" + head + " --processor"));
        assertThat(commands.get(3)).contains(" --by one-head:1 ");
        for (int i = 0; i < 3; i++) {
            assertThat(commands.get(i)).contains(" --processor " + processor + " ");
        }

        Outcome whole = succeed(rounds);
        for (int i = 0; i < commands.size(); i++) {
            assertThat(whole.err()).contains("[" + (i + 1) + "/11] " + commands.get(i));
        }
        assertTrained(rounds);
        Map<String, String> expected = TinyRounds.left(rounds.output());
        Outcome again = succeed(rounds, "--resume");
        assertThat(again.err()).contains("[1/11] round 1: images: done before", "[3/11] round 1: scores: done before");
        assertThat(TinyRounds.left(rounds.output())).isEqualTo(expected);

        assertTyped(rounds, commands, expected);
    }

    private void assertTrained(TinyRounds rounds) throws IOException {
        Path first = rounds.output().resolve("round-01");
        assertThat(prompts(first.resolve("prompts.json")))
                .containsExactly("thing number 0", "thing number 1", "thing number 2");
        assertThat(prompts(rounds.output().resolve("round-02/prompts.json"))).contains("thing number 3");
        JsonObject fitted = Json.readObject(first.resolve("reward/reward.json"));
        JsonObject head = Json.readObject(first.resolve("round.json")).object("head");
        assertThat(head.number("human_accuracy")).isEqualTo(fitted.number("held_out_accuracy"));
        assertThat(head.number("game_weight")).isEqualTo(0.1);
        assertThat(head.number("norm")).isPositive();
        assertThat(fitted.object("game").string("data")).contains("generated images against the gold images of");
        // The second round's head is another one, since the images are.
        assertThat(Files.mismatch(
                        rounds.output().resolve("round-02/reward/head.safetensors"),
                        first.resolve("reward/head.safetensors")))
                .isNotNegative();
        assertThat(Json.readObject(first.resolve("round.json"))
                        .object("rewards")
                        .keys())
                .containsExactlyInAnyOrder("one", "two", "one-head");
        // A quarter of the pairs that a round trains on are those of people, and all of them can be.
        assertThat(Files.readString(first.resolve("train.yaml")))
                .contains("  mix:\n    paths: [")
                .contains("fraction: 0.25");
        assertThat(Json.readObject(first.resolve("run/manifest.json")).integer("training_pairs"))
                .isEqualTo(203);
        assertThat(Json.readObject(first.resolve("run/manifest.json")).integer("mixed_pairs"))
                .isEqualTo(200);
        // The pairs are those of the head.
        JsonObject pairs = Json.readObject(first.resolve("pairs/pairs.json"));
        assertThat(pairs.objects("rewards")).hasSize(1);
        assertThat(pairs.objects("rewards").getFirst().string("name")).isEqualTo("one-head");
        assertThat(Files.readString(rounds.output().resolve("report.html")))
                .contains("Head of the reward in each round", "Human accuracy", "one-head");
    }

    @Test
    void aRewardIsTrainedOnEnoughPairsOfAClipModel() throws IOException {
        TinyRounds rounds = TinyRounds.withTraining(temporary);
        Path few = TintedPairs.write(temporary.resolve("few"), 12, 0, 0);
        refuse(
                rounds,
                2,
                "rounds.reward_training.human: expected at least 200 pairs with a better image, to fit the",
                "--set",
                "rounds.reward_training.human=" + few);
        refuse(
                rounds,
                2,
                "rounds.rewards: expected no one-head",
                "--set",
                "rounds.rewards=['one=" + temporary.resolve("one") + "', 'one-head=" + temporary.resolve("two") + "']");
        refuse(
                rounds,
                2,
                "rounds.prompts_per_round: expected at most the 200 prompts of " + rounds.human(),
                "--set",
                "rounds.prompts_per_round=201");
        refuse(
                rounds,
                2,
                "rounds.pairs: expected one of rounds.rewards, one, two, one-head; found three",
                "--set",
                "rounds.pairs.by=[three]");
        assertThat(rounds.output()).doesNotExist();
    }

    /// The model likes every generated image better than every gold one, so the game needs a head, which only harms:
    /// people choose here as the model does without one.
    @Test
    void aGameThatTeachesNothingOfPeopleIsLeftOut() throws IOException {
        TinyRounds rounds = TinyRounds.withTraining(temporary);
        TintedPairs.redden(rounds.human());
        Path scores = temporary.resolve("scores.parquet");
        assertThat(smpo("score", "clip:" + temporary.resolve("one"), rounds.human(), "--out", scores, "--threads", 1)
                        .code())
                .isZero();
        TintedPairs.relabel(rounds.human(), ScoreTable.read(scores));
        Outcome outcome = succeed(
                rounds,
                "--set",
                "rounds.count=1",
                "--set",
                "rounds.evaluation=none",
                "--set",
                "rounds.reward_training.game_weight=100000",
                "--set",
                "rounds.reward_training.guard=0");
        assertThat(outcome.err())
                .contains("with the game at weight 100000.0 the head forgets what people prefer", "is left out");
        JsonObject head =
                Json.readObject(rounds.output().resolve("round-01/round.json")).object("head");
        assertThat(head.number("game_weight")).isZero();
        assertThat(head.number("game_accuracy")).isLessThan(0.5);
        assertThat(head.number("human_accuracy_without_head")).isEqualTo(1);
    }

    private static List<String> prompts(Path file) throws IOException {
        List<String> texts = new ArrayList<>();
        for (Object one : Json.parseList("prompts", Files.readString(file))) {
            texts.add(((JsonObject) one).string("prompt"));
        }
        return texts;
    }

    /// Rounds can be added to those that are finished; nothing else may change.
    @Test
    void roundsCanBeAdded() throws IOException {
        TinyRounds rounds = TinyRounds.in(temporary);
        refuse(rounds, 1, "no rounds to resume: it has no rounds.yaml", "--resume");
        succeed(rounds, "--set", "rounds.count=1", "--set", "rounds.evaluation=none");
        Path first = rounds.output().resolve("round-01");
        Map<String, String> before = TinyRounds.left(first);
        refuse(
                rounds,
                1,
                "rounds.images: 3 then, rounds.images: 4 now",
                "--resume",
                "--set",
                "rounds.images=4",
                "--set",
                "rounds.evaluation=none");
        refuse(
                rounds,
                1,
                "train.steps: 3 then, train.steps: 9 now",
                "--resume",
                "--set",
                "train.steps=9",
                "--set",
                "rounds.evaluation=none");
        Outcome more = succeed(rounds, "--resume", "--set", "rounds.evaluation=none");
        assertThat(more.err()).contains("[3/6] round 1: training: done before", "[4/6] smpo evaluate round-01=");
        assertThat(TinyRounds.left(first)).isEqualTo(before);
        assertThat(rounds.output().resolve("round-02/run/model")).isDirectory();
        refuse(
                rounds,
                1,
                "rounds.count: 2 then, rounds.count: 1 now",
                "--resume",
                "--set",
                "rounds.count=1",
                "--set",
                "rounds.evaluation=none");
        Files.writeString(temporary.resolve("prompts.txt"), "a cat\na blue house\na dog\n");
        refuse(
                rounds,
                1,
                "expected the prompts that the rounds were begun with",
                "--resume",
                "--set",
                "rounds.evaluation=none");
    }

    @Test
    void badInputIsRefusedBeforeAnythingIsWritten() throws IOException {
        TinyRounds rounds = TinyRounds.in(temporary);
        Outcome train = smpo("train", rounds.recipe());
        assertThat(train.code()).isEqualTo(2);
        assertThat(train.err()).contains("rounds: this recipe generates its own pairs; run it with smpo iterate");
        refuse(
                rounds,
                2,
                "rounds.prompts_per_round: expected at most the 3 prompts",
                "--set",
                "rounds.prompts_per_round=4");
        refuse(
                rounds,
                2,
                "rounds.rewards[1]: expected distinct names, found a second one",
                "--set",
                "rounds.rewards=['one=" + temporary.resolve("one") + "', 'one=" + temporary.resolve("two") + "']");
        refuse(
                rounds,
                2,
                "rounds.rewards[0]: expected a name",
                "--set",
                "rounds.rewards=['" + temporary.resolve("one") + "']");
        refuse(
                rounds,
                2,
                "expected a reward model's file or folder, found nothing",
                "--set",
                "rounds.rewards=['one=none']");
        refuse(
                rounds,
                2,
                "rounds.pairs: expected one of rounds.rewards, one, two; found three",
                "--set",
                "rounds.pairs.by=[three]");
        refuse(
                rounds,
                2,
                "rounds.pairs: expected one of rounds.rewards, one, two; found three",
                "--set",
                "rounds.pairs={select: tournament, judge: 'score:three', by: []}");
        refuse(
                rounds,
                2,
                "rounds.pairs.judge: expected score:NAME[:T]",
                "--set",
                "rounds.pairs={select: tournament, judge: 'coin', by: []}");
        refuse(rounds, 2, "rounds.generation.height: expected a multiple of 8", "--set", "rounds.generation.height=12");
        refuse(
                rounds,
                2,
                "rounds.pairs.by: expected distinct rewards, got a second one",
                "--set",
                "rounds.pairs.by=[one, one]");
        refuse(rounds, 2, "--dry-run and --resume: expected one of them", "--dry-run", "--resume");
        Files.writeString(temporary.resolve("seeds.jsonl"), "{\"prompt\": \"a cat\", \"seed\": 4}\n");
        refuse(
                rounds,
                2,
                "seeds.jsonl: prompt 1 has a seed",
                "--set",
                "rounds.prompts_per_round=auto",
                "--set",
                "rounds.prompts=" + temporary.resolve("seeds.jsonl"));
        refuse(rounds, 1, "nothing.txt", "--set", "rounds.prompts=" + temporary.resolve("nothing.txt"));
        assertThat(rounds.output()).doesNotExist();
    }

    /// The images stay, and so does the message when the rounds are resumed.
    @Test
    void tooFewPairsEndTheRound() throws IOException {
        TinyRounds rounds = TinyRounds.in(temporary);
        String[] set = {"--set", "rounds.pairs.min_preference=0.99"};
        String message =
                "round 1: expected at least the 2 pairs of one step (train.pairs_per_step), found 0 of 2 prompts"
                        + " (2 without a pair";
        refuse(rounds, 1, message, (Object[]) set);
        refuse(rounds, 1, message, Outcome.with(new Object[] {"--resume"}, (Object[]) set));
        assertThat(rounds.output().resolve("round-01/run")).doesNotExist();
        try (var images = Files.list(rounds.output().resolve("round-01/images/pictures/0-base"))) {
            assertThat(images.collect(Collectors.toList())).hasSize(6);
        }
    }

    /// CaPO's fronts and a tournament, by the recipes that come with the program.
    @Test
    void theBuiltInRecipesRun() throws IOException {
        TinyRounds rounds = TinyRounds.in(temporary);
        String yaml = Files.readString(rounds.recipe());
        for (String base : List.of("iterate-capo-sd15-lora", "iterate-ipr-sd15-lora")) {
            String own = yaml.replaceAll("(?m)^ *(pairs|evaluation|inversion): .*\n", "")
                    .replace("iterate-smpo-sd15-lora", base)
                    .replace(rounds.output().toString(), temporary.resolve(base).toString())
                    .replace("count: 2", "count: 1")
                    .replace("value: 1e-2", "value: 1e-4")
                    .replace("generation:", "pairs: " + pairs(base) + "\n  generation:");
            Files.writeString(rounds.recipe(), own);
            succeed(rounds);
            JsonObject record = Json.readObject(temporary.resolve(base).resolve("round-01/pairs/pairs.json"));
            assertThat(record.string("select")).isEqualTo(base.contains("capo") ? "frontier" : "tournament");
            assertThat(temporary.resolve(base).resolve("round-01/run/pytorch_lora_weights.safetensors"))
                    .exists();
        }
    }

    private static String pairs(String base) {
        return base.contains("capo") ? "{combine: calibrated}" : "{judge: 'score:one'}";
    }
}
