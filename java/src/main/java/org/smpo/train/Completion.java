package org.smpo.train;

import java.io.IOException;
import java.util.List;
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

    /// The recipe with the number of steps of the run in its folder, where that run is finished and was longer: it was
    /// extended beyond the recipe's own steps before.
    ///
    /// @throws IOException when the run's recipe cannot be read
    static Recipe ofFinished(Recipe recipe, Trainer.Listener listener) throws IOException {
        RunFolder folder = RunFolder.unlocked(recipe.output());
        if (!folder.hasRun()) {
            return recipe;
        }
        long steps = Recipe.read(folder.recipe(), List.of()).train().steps();
        List<Checkpoint> checkpoints = Checkpoint.all(folder.checkpoints());
        boolean finished = !checkpoints.isEmpty() && checkpoints.getLast().step() == steps;
        if (!finished || steps <= recipe.train().steps()) {
            return recipe;
        }
        listener.say("train.steps: " + steps + ", which the run has taken, instead of "
                + recipe.train().steps());
        return recipe.withSteps(steps);
    }

    private static int resolution(Recipe recipe) throws IOException {
        if (recipe.data().resolution().isPresent()) {
            return recipe.data().side();
        }
        try (ModelFiles files = BaseModel.open(recipe)) {
            return GenerationConfig.standard().sizedFor(files).width();
        }
    }
}
