package org.smpo.recipe;

import java.util.OptionalInt;

/// How winners of trajectories are moved along the gradient of the reward before they are trained on.
///
/// @param strength length of a move, as a share of the step's noise: above 0
/// @param throughUnet whether the gradient includes how the predicted clean latents depend on the
///     candidate through the UNet, which takes two more passes of the UNet for each side of guidance
/// @param rows number of compared steps of a rollout whose winners are moved, chosen anew for each;
///     absent: all
public record GuideRecipe(double strength, boolean throughUnet, OptionalInt rows) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public GuideRecipe {
        Check.positive("strength", strength);
        if (rows.isPresent()) {
            Check.atLeast(1, "rows", rows.getAsInt());
        }
    }

    static GuideRecipe read(Section in) throws RecipeException {
        return in.build(() -> new GuideRecipe(
                in.number("strength", 0.1),
                in.flag("through_unet", false),
                in.smallOrAuto("rows", OptionalInt.empty())));
    }
}
