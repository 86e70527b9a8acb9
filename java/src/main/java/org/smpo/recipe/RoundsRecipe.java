package org.smpo.recipe;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/// Rounds of generating images, making pairs of them and tuning on the pairs.
///
/// @param count number of rounds
/// @param prompts file of prompts; absent: the captions of the pairs that a reward is trained on
/// @param promptsPerRound number of prompts of a round, which takes the next ones of the file and
///     begins again at its end; absent: all of them
/// @param images number of images per prompt
/// @param generatedBy model that generates the images of a round
/// @param generation how the images are generated
/// @param rewards rewards that score the images, `NAME=[KIND:]PATH` each
/// @param processor folder with the image processor and tokenizer of rewards that have none
/// @param rewardTraining how the first reward is trained in every round; absent: it is not
/// @param pairs how the images become pairs
/// @param mix pairs that every round trains on as well; absent: none
/// @param reference frozen reference of a round's training
/// @param evaluation comparison of all models after the last round; absent: none
public record RoundsRecipe(
        int count,
        Optional<Path> prompts,
        OptionalInt promptsPerRound,
        int images,
        GeneratedBy generatedBy,
        GenerationRecipe generation,
        List<String> rewards,
        Optional<Path> processor,
        Optional<RewardTrainingRecipe> rewardTraining,
        RoundPairsRecipe pairs,
        Optional<MixRecipe> mix,
        Reference reference,
        Optional<RoundEvaluationRecipe> evaluation) {
    /// The number of seeds of the images of one round is below 2^32, and the seed of an image below
    /// 2^55.
    private static final int MOST_ROUNDS = 1 << 16;

    /// The model that generates the images of a round.
    public enum GeneratedBy {
        /// The model that the round begins with: the tuned model of the round before.
        POLICY,
        /// The model of the recipe, in every round.
        REFERENCE
    }

    /// The frozen reference of a round's training.
    public enum Reference {
        /// The model of the recipe, in every round.
        FIRST,
        /// The model that the round begins with.
        PREVIOUS
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public RoundsRecipe {
        rewards = List.copyOf(rewards);
        Check.atLeast(1, "count", count);
        Check.that(count <= MOST_ROUNDS, "count", "at most " + MOST_ROUNDS, count);
        Check.that(
                prompts.isPresent() || rewardTraining.isPresent(),
                "prompts",
                "a file of prompts, or reward_training, whose pairs have captions",
                "neither");
        if (promptsPerRound.isPresent()) {
            Check.atLeast(1, "prompts_per_round", promptsPerRound.getAsInt());
        }
        Check.that(images >= 2, "images", "2 or more, since a pair has two of them", images);
        Check.that(!rewards.isEmpty(), "rewards", "at least one reward, NAME=[KIND:]PATH", "none");
    }

    static RoundsRecipe read(Section in) throws RecipeException {
        return in.build(() -> {
            int count = in.small("count", 1);
            Optional<Path> prompts = in.pathOrNone("prompts");
            OptionalInt promptsPerRound = in.smallOrAuto("prompts_per_round", OptionalInt.empty());
            int images = in.small("images", 8);
            GeneratedBy generatedBy = in.choice("generated_by", GeneratedBy.class, GeneratedBy.POLICY);
            GenerationRecipe generation = GenerationRecipe.read(in.section("generation"));
            List<String> rewards = in.texts("rewards", List.of());
            Optional<Path> processor = in.pathOrNone("processor");
            Optional<Section> training = in.sectionOrNone("reward_training");
            RoundPairsRecipe pairs = RoundPairsRecipe.read(in.section("pairs"));
            Optional<MixRecipe> mix = MixRecipe.read(in, "mix");
            Reference reference = in.choice("reference", Reference.class, Reference.FIRST);
            Optional<Section> evaluation = in.sectionOrNone("evaluation");
            return new RoundsRecipe(
                    count,
                    prompts,
                    promptsPerRound,
                    images,
                    generatedBy,
                    generation,
                    rewards,
                    processor,
                    training.isEmpty() ? Optional.empty() : Optional.of(RewardTrainingRecipe.read(training.get())),
                    pairs,
                    mix,
                    reference,
                    evaluation.isEmpty()
                            ? Optional.empty()
                            : Optional.of(RoundEvaluationRecipe.read(evaluation.get())));
        });
    }
}
