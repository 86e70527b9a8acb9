package org.smpo.recipe;

import java.util.OptionalLong;

/// Schedule of checkpoints. The state after the last step is always saved.
///
/// @param every number of steps between checkpoints; absent: at the end only
/// @param keep number of newest checkpoints that are kept, 1 or more
/// @param milestones steps whose checkpoints are saved and kept regardless of `every` and `keep`
public record CheckpointRecipe(OptionalLong every, int keep, Milestones milestones) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public CheckpointRecipe {
        every.ifPresent(steps -> Check.atLeast(1, "every", steps));
        Check.atLeast(1, "keep", keep);
    }

    static CheckpointRecipe read(Section in) throws RecipeException {
        return in.build(() -> new CheckpointRecipe(
                in.integerOrNone("every", OptionalLong.of(50)),
                in.small("keep", 2),
                Milestones.read(in, "milestones")));
    }

    /// Whether the state after a step of a run is saved.
    public boolean isDue(long step, long steps) {
        boolean regular = every.isPresent() && step > 0 && step % every.getAsLong() == 0;
        return regular || step == steps || milestones.contains(step);
    }
}
