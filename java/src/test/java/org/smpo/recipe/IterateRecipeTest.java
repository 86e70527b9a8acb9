package org.smpo.recipe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.smpo.objective.Capo;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble.Combination;

/// Recipes with rounds are read strictly, written completely, and read back equal.
class IterateRecipeTest {
    private static final String SMALLEST = """
        model: m
        output: o
        objective: {method: dpo, beta: 5000}
        train: {steps: 10, pairs_per_step: 4}
        learning_rate: {value: 1e-5}
        rounds: {prompts: p.txt, rewards: ["r=clip:c"]}
        """;

    @TempDir
    private Path folder;

    private static IterateRecipe parse(String yaml, String... overrides) throws RecipeException {
        return IterateRecipe.parse("run.yaml", yaml, List.of(overrides));
    }

    private static void assertRefused(String message, String... overrides) {
        assertThatThrownBy(() -> parse(SMALLEST, overrides))
                .as(message)
                .isInstanceOf(RecipeException.class)
                .hasMessageContaining(message);
    }

    static List<String> builtIns() {
        return IterateRecipe.builtInNames();
    }

    @ParameterizedTest
    @MethodSource("builtIns")
    void aBuiltInRecipeIsValidAndReadsBackEqual(String name) throws IOException {
        IterateRecipe recipe = IterateRecipe.read(Path.of(name), List.of());
        IterateRecipe again = parse(recipe.resolved());
        assertThat(again).isEqualTo(recipe);
        assertThat(again.resolved()).isEqualTo(recipe.resolved()).doesNotContain("data:\n  paths:");
        assertThat(Recipe.builtInText(name)).startsWith("#");
        assertThatThrownBy(() -> Recipe.read(Path.of(name), List.of()))
                .hasMessageContaining("rounds: this recipe generates its own pairs; run it with smpo iterate");
    }

    @Test
    void thePublishedNumbersOfCapo() throws IOException {
        IterateRecipe capo = IterateRecipe.read(Path.of("iterate-capo-sd15-lora"), List.of());
        assertThat(capo.training().objective().loss()).isEqualTo(new Capo(2000, 1.5));
        assertThat(capo.rounds().images()).isEqualTo(16);
        assertThat(capo.rounds().count()).isEqualTo(1);
        assertThat(capo.rounds().generatedBy()).isEqualTo(RoundsRecipe.GeneratedBy.REFERENCE);
        assertThat(capo.rounds().generation().steps()).isEqualTo(50);
        assertThat(capo.rounds().generation().guidanceScale()).isEqualTo(7.5);
        assertThat(capo.rounds().pairs().select()).isEqualTo(PairRule.FRONTIER);
        assertThat(capo.rounds().pairs().combine()).contains(Combination.CALIBRATED);
    }

    @Test
    void aRecipeMayBeginWithARecipeWithoutRounds() throws IOException {
        Path file = Files.writeString(folder.resolve("own.yaml"), """
            base: smpo-sd15
            rounds: {prompts: p.txt, rewards: ["r=clip:c"]}
            """);
        IterateRecipe recipe = IterateRecipe.read(file, List.of("train.steps=7", "rounds.images=5"));
        assertThat(recipe.training().train().steps()).isEqualTo(7);
        assertThat(recipe.rounds().images()).isEqualTo(5);
        assertThatThrownBy(() -> Recipe.read(file, List.of()))
                .hasMessageContaining("own.yaml: line 2: rounds: this recipe generates its own pairs");
    }

    /// The model, the data and the reference of each round's training.
    @Test
    void aRoundHasARecipeOfItsOwn() throws RecipeException {
        IterateRecipe recipe = parse(SMALLEST, "seed=5", "rounds.count=2", "rounds.mix={paths: human, fraction: 0.25}");
        Recipe first = recipe.ofRound(1, Path.of("m"), Path.of("o/1"), Path.of("pairs1"));
        assertThat(first.model()).hasToString("m");
        assertThat(first.output()).hasToString("o/1");
        assertThat(first.seed()).isEqualTo(6);
        assertThat(first.data().paths()).containsExactly(Path.of("pairs1"));
        assertThat(first.data().mix()).contains(new MixRecipe(List.of(Path.of("human")), 0.25));
        assertThat(Recipe.parse("train.yaml", first.resolved(), List.of())).isEqualTo(first);
        assertThat(first.train().reference()).isEmpty();
        Recipe second = recipe.ofRound(2, Path.of("tuned"), Path.of("o/2"), Path.of("pairs2"));
        assertThat(second.seed()).isEqualTo(7);
        assertThat(second.train().reference()).contains(Path.of("m"));
        assertThat(parse(SMALLEST, "rounds.count=2", "rounds.reference=previous")
                        .ofRound(2, Path.of("tuned"), Path.of("o/2"), Path.of("pairs2"))
                        .train()
                        .reference())
                .isEmpty();
        // A method without a reference has none to choose.
        assertThat(parse(SMALLEST, "rounds.count=2", "objective={method: sft}")
                        .ofRound(2, Path.of("tuned"), Path.of("o/2"), Path.of("pairs2"))
                        .train()
                        .reference())
                .isEmpty();
        assertThat(parse(recipe.resolved())).isEqualTo(recipe);
    }

    @Test
    void wrongValuesAreNamed() {
        assertRefused("rounds.count: expected an integer of 1 or more, got 0", "rounds.count=0");
        assertRefused("rounds.images: expected 2 or more, since a pair has two of them, got 1", "rounds.images=1");
        assertRefused("rounds.rewards: expected at least one reward", "rounds.rewards=[]");
        assertRefused("rounds.prompts_per_round: expected an integer of 1 or more", "rounds.prompts_per_round=0");
        assertRefused("rounds.generated_by: expected policy or reference", "rounds.generated_by=me");
        assertRefused("rounds.reference: expected first or previous", "rounds.reference=second");
        assertRefused("rounds.generation.batch: expected an integer of 1 or more", "rounds.generation.batch=0");
        assertRefused("rounds.generation.guidance_scale: expected a number of 1", "rounds.generation.guidance_scale=0");
        assertRefused(
                "rounds.generation.eta: only ddim reads it",
                "rounds.generation.eta=0.5",
                "rounds.generation.sampler=euler");
        assertRefused("rounds.pairs.judge: a tournament needs a judge", "rounds.pairs.select=tournament");
        assertRefused("rounds.pairs.judge: only a tournament asks a judge", "rounds.pairs.judge=score:r");
        assertRefused(
                "rounds.pairs.min_preference: expected a number from 0 to below 1", "rounds.pairs.min_preference=1");
        assertRefused(
                "rounds.evaluation.images: expected an integer of 1", "rounds.evaluation={prompts: p, images: 0}");
        assertRefused("rounds.prompts: expected a file of prompts, or reward_training", "rounds.prompts=none");
        assertRefused("rounds.reward_training.human: expected a path, found no such key", "rounds.reward_training={}");
        String human = "rounds.reward_training.human=h";
        assertRefused(
                "rounds.reward_training.game_weight: expected a number of 0 or more",
                human,
                "rounds.reward_training.game_weight=-1");
        assertRefused("rounds.reward_training.l2: expected a number above 0", human, "rounds.reward_training.l2=0");
        assertRefused(
                "rounds.reward_training.guard: expected a number from 0", human, "rounds.reward_training.guard=2");
        assertRefused(
                "rounds.reward_training.features: expected both or image",
                human,
                "rounds.reward_training.features=text");
        assertRefused(
                "rounds.mix.fraction: expected a number above 0 and below 1", "rounds.mix={paths: d, fraction: 1}");
        assertRefused("rounds.mix.fraction: expected a number, found no such key", "rounds.mix={paths: d}");
        assertRefused("rounds.mix.paths: expected at least one path", "rounds.mix={paths: [], fraction: 0.5}");
        assertRefused("rounds.mix: expected none or a mapping, found", "rounds.mix=human");
        assertRefused("rounds.picures: unknown key", "rounds.picures=4");
        assertRefused("rounds: expected a mapping, found 3", "rounds=3");
    }

    @Test
    void keysThatHaveNoSayAreRefused() {
        assertRefused("data.paths: rounds generate their own pairs", "data.paths=[d]");
        assertRefused("labels.scores: the pairs of a round have scores of their own", "labels.scores=s.parquet");
        assertRefused("labels.weights: a weight file belongs to pairs that exist", "labels.weights=w.parquet");
        assertRefused("train.reference: rounds.reference says which model", "train.reference=r");
        assertRefused("data.mix: rounds.mix names the pairs", "data.mix={paths: d, fraction: 0.5}");
        assertRefused("trajectory: expected none beside rounds, found a section", "trajectory={prompts: p}");
        assertRefused("seed: expected 0 or more", "seed=-1");
        assertThatThrownBy(() -> parse(SMALLEST + "data: {paths: d}\n"))
                .hasMessageContaining("run.yaml: line 7: data.paths: rounds generate their own pairs");
        assertThatThrownBy(() -> parse(SMALLEST.replaceAll("rounds.*", "")))
                .hasMessageContaining("rounds: expected a mapping, found no such key")
                .hasMessageContaining("smpo train");
    }

    /// Later rounds begin with what earlier rounds export.
    @Test
    void severalRoundsNeedAModelToBeginWith() {
        assertRefused("export.formats: a round begins with", "rounds.count=2", "export.formats=[single_file]");
        assertRefused("single_file: the reference of later rounds", "rounds.count=2", "single_file={config: c}");
        assertRefused("rounds: the tuned model is a negative network", "rounds.count=2", "labels.reversed=true");
        assertThat(List.of("rounds.count=1", "export.formats=[single_file]"))
                .satisfies(one -> parse(SMALLEST, one.toArray(String[]::new)));
    }
}
