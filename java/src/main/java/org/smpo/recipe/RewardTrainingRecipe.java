package org.smpo.recipe;

import java.nio.file.Path;
import org.smpo.objective.HeadFeatures;

/// How the head of the first reward is fitted in every round, before pairs are made (APO, arXiv 2311.08045): to the
/// choices of people, and to gold images against the round's own.
///
/// @param human pairs that people chose between
/// @param gameWeight weight of gold images against generated ones, where the human pairs have 1; 0 or more
/// @param l2 penalty on the head's weights, > 0
/// @param guard accuracy on held-out human pairs that the game may cost, from 0 to 1
/// @param features features that the head reads
public record RewardTrainingRecipe(Path human, double gameWeight, double l2, double guard, HeadFeatures features) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public RewardTrainingRecipe {
        Check.notNegative("game_weight", gameWeight);
        Check.positive("l2", l2);
        Check.unit("guard", guard);
    }

    static RewardTrainingRecipe read(Section in) throws RecipeException {
        return in.build(() -> new RewardTrainingRecipe(
                in.path("human"),
                in.number("game_weight", 0.1),
                in.number("l2", 1e-3),
                in.number("guard", 0.01),
                in.choice("features", HeadFeatures.class, HeadFeatures.BOTH)));
    }
}
