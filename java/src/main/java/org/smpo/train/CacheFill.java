package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.smpo.cache.Cache;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.recipe.Recipe;

/// Encodes the images and captions of a recipe into the cache, so that its training only reads them.
///
/// The images are those of the first epoch, with its crops and flips, and the held-out ones. Several
/// processes take their parts of each step, as in training.
public final class CacheFill {
    private CacheFill() {}

    /// What was read and is now cached.
    ///
    /// @param pairs number of pairs, or of single images
    /// @param bad number of those that could not be read
    public record Counts(long pairs, long bad) {}

    /// Receives the number of steps that are done.
    @FunctionalInterface
    public interface Progress {
        void done(long steps, long of);
    }

    /// Fills the cache.
    ///
    /// @param cacheFolder folder of encoded images and prompts
    /// @param peers processes that share the work and the folder; the caller keeps ownership
    /// @return counts over all processes
    /// @throws IllegalArgumentException when the recipe does not suit the model or the data, or generates
    ///     its pairs itself
    /// @throws IOException when a file cannot be read
    public static Counts run(Recipe recipe, Path cacheFolder, Peers peers, Trainer.Listener listener, Progress progress)
            throws IOException, InterruptedException {
        try {
            Recipe completed = Completion.of(recipe, listener);
            if (completed.trajectory().isPresent()) {
                throw new IllegalArgumentException("trajectory: expected images from files, found a recipe that"
                        + " generates its own, of which nothing can be cached before training");
            }
            Counts counts = fill(completed, cacheFolder, peers, listener, progress);
            peers.check();
            return counts;
        } catch (IOException | InterruptedException | RuntimeException e) {
            peers.fail(e);
            throw e;
        }
    }

    private static Counts fill(
            Recipe recipe, Path cacheFolder, Peers peers, Trainer.Listener listener, Progress progress)
            throws IOException, InterruptedException {
        World world = peers.world();
        try (ModelFiles files = BaseModel.open(recipe);
                Engine engine = Engine.open(EngineConfig.onCpu()
                        .withDevice(Placement.device(recipe, world))
                        .withThreads(Placement.threads(recipe, world))
                        .withSeed(recipe.seed()));
                PairEncoder encoder =
                        new PairEncoder(engine, files, recipe.data().side(), Cache.open(cacheFolder, listener::warn));
                PairStream pairs = Setup.stored(recipe, files, encoder, Optional.empty(), world, listener)) {
            peers.requireSame(Placement.shared(recipe, pairs.identity()));
            int perStep = recipe.train().pairsPerStep();
            long steps = Math.ceilDiv(pairs.trainingPairs(), perStep);
            long heldOut = Math.ceilDiv(pairs.heldOutPairs(), perStep);
            long done = 0;
            long bad = 0;
            for (long step = 0; step < steps + heldOut; step++) {
                int from = Math.toIntExact((step - steps) * perStep);
                try (PairStream.Batch batch = step < steps
                        ? pairs.batch(step)
                        : world.has(Math.toIntExact(step))
                                ? pairs.heldOutBatch(from, perStep)
                                : PairStream.Batch.none()) {
                    batch.bad().forEach(one -> listener.warn("cannot be read: " + one.message()));
                    done += batch.ids().size();
                    bad += batch.bad().size();
                }
                // Ends at once where another process has failed.
                peers.check();
                progress.done(step + 1, steps + heldOut);
            }
            double[] sums = peers.sum((double) done, (double) bad);
            return new Counts(Math.round(sums[0]), Math.round(sums[1]));
        }
    }
}
