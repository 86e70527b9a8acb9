package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.IntConsumer;
import org.smpo.ffi.EngineException;
import org.smpo.ffi.EngineStatistics;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.TrainRecipe;

/// The first steps of a run with a small part of the global batch, taken to measure time and memory.
/// Nothing is logged or saved, and the run's folder is not created; images and prompts encoded by these
/// steps stay in the cache.
public final class DryRun implements AutoCloseable {
    /// Steps taken. The first one warms up and is not timed.
    public static final int STEPS = 2;

    /// Number of pairs of a measured step for each kind of device, where the recipe names no
    /// micro-batch. A GPU needs many to be busy.
    private static final int PAIRS_ON_CPU = 8;

    private static final int PAIRS_ON_GPU = 64;

    private final Recipe recipe;
    private final Setup setup;
    private final int pairs;

    /// Measurements of a dry run.
    ///
    /// @param stepSeconds time of a step in seconds, from that of the measured pairs
    /// @param measuredPairs number of pairs of a measured step
    /// @param runSeconds time of all steps of the run in seconds, at that pace
    /// @param hostBytesPeak peak size of CPU tensors in bytes
    /// @param deviceBytesPeak peak size of GPU tensors in bytes; 0 on the CPU
    /// @param microBatch number of pairs differentiated together
    /// @param inversionBatch number of images inverted, or rolled out, together; 0 where none is
    /// @param trainingPairs number of pairs that are trained on, or of prompts of trajectories
    /// @param heldOutPairs number of pairs that are held out
    /// @param trainedParameters number of trained values
    /// @param optimizerBytes size of the optimizer's state in bytes
    public record Estimate(
            double stepSeconds,
            int measuredPairs,
            double runSeconds,
            long hostBytesPeak,
            long deviceBytesPeak,
            int microBatch,
            int inversionBatch,
            int trainingPairs,
            int heldOutPairs,
            long trainedParameters,
            long optimizerBytes) {}

    private DryRun(Recipe recipe, Setup setup, int pairs) {
        this.recipe = recipe;
        this.setup = setup;
        this.pairs = pairs;
    }

    /// Opens the model and the data of a recipe.
    ///
    /// @param cacheFolder folder of encoded images and prompts; see [Cache#defaultFolder()]
    /// @throws IllegalArgumentException when the recipe does not suit the model or the data
    /// @throws IOException when a file cannot be read, or the output folder has a run already
    public static DryRun open(Recipe recipe, Path cacheFolder, Trainer.Listener listener) throws IOException {
        Run.requireUnused(RunFolder.unlocked(recipe.output()));
        Recipe completed = Completion.of(recipe, listener);
        Recipe small = completed.withPairsPerStep(measured(completed.train()));
        return new DryRun(
                completed,
                Setup.open(small, Optional.empty(), cacheFolder, listener),
                small.train().pairsPerStep());
    }

    /// Number of pairs of a measured step: two micro-batches where the recipe names their size.
    private static int measured(TrainRecipe train) {
        int usual = train.device().equals("cpu") ? PAIRS_ON_CPU : PAIRS_ON_GPU;
        int enough = train.microBatch().isPresent() ? 2 * train.microBatch().getAsInt() : usual;
        return Math.min(train.pairsPerStep(), enough);
    }

    /// The recipe with everything filled in that it left to the machine and to the model.
    public Recipe recipe() {
        return recipe;
    }

    /// Takes the steps and measures them.
    ///
    /// @param taken receives the number of steps taken, after each
    public Estimate estimate(IntConsumer taken) throws IOException, InterruptedException {
        double seconds = 0;
        for (int step = 0; step < STEPS; step++) {
            long start = System.nanoTime();
            double generating = setup.pairs().generation().seconds();
            try {
                take(step);
            } catch (EngineException e) {
                throw RecipeAdvice.explain(e);
            }
            generating = setup.pairs().generation().seconds() - generating;
            seconds += step == 0 ? 0 : (System.nanoTime() - start) / 1e9 - generating;
            taken.accept(step + 1);
        }
        EngineStatistics statistics = setup.engine().statistics();
        PairStream.Generation generation = setup.pairs().generation();
        double pairSeconds = seconds / (STEPS - 1) / pairs
                + (generation.pairs() == 0 ? 0 : generation.seconds() / generation.pairs());
        double stepSeconds = pairSeconds * recipe.train().pairsPerStep();
        return new Estimate(
                stepSeconds,
                pairs,
                stepSeconds * recipe.train().steps(),
                statistics.hostBytesPeak(),
                statistics.deviceBytesPeak(),
                setup.sizes().microBatch(),
                recipe.latentNetwork().isEmpty() ? 0 : setup.sizes().inversionBatch(),
                setup.pairs().trainingPairs(),
                setup.pairs().heldOutPairs(),
                setup.policy().trainedElements(),
                setup.policy().optimizerBytes());
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
