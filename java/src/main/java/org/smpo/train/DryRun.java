package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.smpo.ffi.EngineException;
import org.smpo.ffi.EngineStatistics;
import org.smpo.recipe.Recipe;

/// The first steps of a run, taken to measure time and memory. Nothing is logged or saved, and the run's folder is not
/// created; images and prompts encoded by these steps stay in the cache.
public final class DryRun implements AutoCloseable {
    /// Steps taken. The first one warms up and is not timed.
    private static final int STEPS = 3;

    private final Recipe recipe;
    private final Setup setup;

    /// Measurements of a dry run.
    ///
    /// @param stepSeconds mean time of a step in seconds
    /// @param runSeconds time of all steps of the run in seconds, at that pace
    /// @param hostBytesPeak peak size of CPU tensors in bytes
    /// @param deviceBytesPeak peak size of GPU tensors in bytes; 0 on the CPU
    /// @param microBatch number of pairs differentiated together
    /// @param inversionBatch number of images inverted together; 0 where nothing is inverted
    /// @param trainingPairs number of pairs that are trained on
    /// @param heldOutPairs number of pairs that are held out
    /// @param trainedParameters number of trained values
    public record Estimate(
            double stepSeconds,
            double runSeconds,
            long hostBytesPeak,
            long deviceBytesPeak,
            int microBatch,
            int inversionBatch,
            int trainingPairs,
            int heldOutPairs,
            long trainedParameters) {}

    private DryRun(Recipe recipe, Setup setup) {
        this.recipe = recipe;
        this.setup = setup;
    }

    /// Opens the model and the data of a recipe.
    ///
    /// @param cacheFolder folder of encoded images and prompts; see [Cache#defaultFolder()]
    /// @throws IllegalArgumentException when the recipe does not suit the model or the data
    /// @throws IOException when a file cannot be read, or the output folder has a run already
    public static DryRun open(Recipe recipe, Path cacheFolder, Trainer.Listener listener) throws IOException {
        Run.requireUnused(RunFolder.unlocked(recipe.output()));
        Recipe completed = Completion.of(recipe, listener);
        return new DryRun(completed, Setup.open(completed, Optional.empty(), cacheFolder, listener));
    }

    /// The recipe with everything filled in that it left to the machine and to the model.
    public Recipe recipe() {
        return recipe;
    }

    /// Takes the steps and measures them.
    public Estimate estimate() throws IOException, InterruptedException {
        double seconds = 0;
        for (int step = 0; step < STEPS; step++) {
            long start = System.nanoTime();
            try {
                take(step);
            } catch (EngineException e) {
                throw RecipeAdvice.explain(e);
            }
            seconds += step == 0 ? 0 : (System.nanoTime() - start) / 1e9;
        }
        EngineStatistics statistics = setup.engine().statistics();
        double stepSeconds = seconds / (STEPS - 1);
        return new Estimate(
                stepSeconds,
                stepSeconds * recipe.train().steps(),
                statistics.hostBytesPeak(),
                statistics.deviceBytesPeak(),
                setup.sizes().microBatch(),
                recipe.inversion().isEmpty() ? 0 : setup.sizes().inversionBatch(),
                setup.pairs().trainingPairs(),
                setup.pairs().heldOutPairs(),
                setup.policy().trainedElements());
    }

    private void take(int step) throws IOException, InterruptedException {
        try (PairStream.Batch batch = setup.pairs().batch(step)) {
            if (batch.isEmpty()) {
                throw new IOException("data: no pair of a step can be read; the first: "
                        + batch.bad().getFirst().message() + "; smpo data validate lists them");
            }
            PairLatents latents = batch.latents();
            setup.step()
                    .run(latents, setup.policy().networks(), step, setup.sizes().microBatch(), latents.pairs(), true);
            setup.policy().update(step, batch.ids());
        }
    }

    @Override
    public void close() throws IOException {
        setup.close();
    }
}
