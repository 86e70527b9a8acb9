package org.smpo.train;

import java.io.IOException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.generate.GenerationConfig;
import org.smpo.network.Compute;
import org.smpo.recipe.Recipe;

/// Fills in what a recipe leaves to the machine and to the model, so that a run records what it used.
final class Completion {
    private Completion() {}

    /// Decides device, precision and resolution, and says so.
    ///
    /// @throws IOException when the model cannot be read
    static Recipe of(Recipe recipe, Trainer.Listener listener) throws IOException {
        Compute compute = Compute.choose(recipe.train().device(), recipe.train().precision());
        Recipe completed = recipe.completed(resolution(recipe), compute.device(), compute.precision());
        listener.say(
                compute.describe() + ", at a resolution of " + completed.data().side());
        return completed;
    }

    private static int resolution(Recipe recipe) throws IOException {
        if (recipe.data().resolution().isPresent()) {
            return recipe.data().side();
        }
        try (ModelFiles files = ModelFiles.open(recipe.model())) {
            return GenerationConfig.standard().sizedFor(files).width();
        }
    }
}
