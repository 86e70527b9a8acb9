package org.smpo.recipe;

import java.nio.file.Path;

/// The comparison of all rounds' models with the recipe's model, on prompts of their own, after the
/// last round.
///
/// @param prompts file of prompts
/// @param images number of images per prompt
public record RoundEvaluationRecipe(Path prompts, int images) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public RoundEvaluationRecipe {
        Check.atLeast(1, "images", images);
    }

    static RoundEvaluationRecipe read(Section in) throws RecipeException {
        return in.build(() -> new RoundEvaluationRecipe(in.path("prompts"), in.small("images", 4)));
    }
}
