package org.smpo.recipe;

import java.util.OptionalLong;

/// When the state of a run is saved; the state after the last step always is.
///
/// @param every steps between two; absent: at the end only
/// @param keep the newest so many stay, 1 or more
/// @param milestones that stay too; a step that is one is saved whatever `every` says
public record CheckpointRecipe(OptionalLong every, int keep, Milestones milestones) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public CheckpointRecipe {
        every.ifPresent(steps -> Check.atLeast(1, "every", steps));
        Check.atLeast(1, "keep", keep);
    }

    static CheckpointRecipe read(Section in) throws RecipeException {
        return in.build(() -> new CheckpointRecipe(
                in.integerOrNone("every", OptionalLong.of(50)), in.small("keep", 2), in.milestones("milestones")));
    }

    /// Whether the state after so many steps of a run is saved.
    public boolean isDue(long step, long steps) {
        boolean regular = every.isPresent() && step > 0 && step % every.getAsLong() == 0;
        return regular || step == steps || milestones.contains(step);
    }
}
