package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.smpo.data.BadPair;

/// The source of the pairs of every optimizer step, ready for the UNet.
///
/// [StoredPairs] reads pairs from files; a batch is then a function of the seed and the step alone.
/// [Rollout] lets the policy generate the pairs of its own steps; what its batches depend on besides is
/// part of a checkpoint. So a run can stop and resume at any step. Belongs to the engine's thread.
interface PairStream extends AutoCloseable {
    /// The step that numbers the random values of held-out pairs. They are the same in every evaluation, and no
    /// training step has this number.
    long HELD_OUT_STEP = 0xFFFF_FFFFL;

    /// The pairs that this process contributes to one step.
    ///
    /// @param latents tensors and values of the pairs, which the caller closes; null when no pair could be read
    /// @param ids names of the pairs, in the order of the latents
    /// @param bad records that were skipped
    /// @param events entries of the log about the making of these pairs, which precede that of their
    ///     step
    record Batch(PairLatents latents, List<String> ids, List<BadPair> bad, List<Map<String, Object>> events)
            implements AutoCloseable {
        /// Pairs about whose making the log says nothing.
        Batch(PairLatents latents, List<String> ids, List<BadPair> bad) {
            this(latents, ids, bad, List.of());
        }

        /// No pairs.
        static Batch none() {
            return new Batch(null, List.of(), List.of());
        }

        /// Whether none of the pairs could be read.
        boolean isEmpty() {
            return latents == null;
        }

        @Override
        public void close() {
            if (latents != null) {
                latents.close();
            }
        }
    }

    /// Returns the pairs of an optimizer step.
    ///
    /// @param step 0 or more
    Batch batch(long step) throws IOException, InterruptedException;

    /// Returns some of the held-out pairs, without augmentation and with the same captions, timesteps and random
    /// values each time.
    ///
    /// @param from index of the first one, 0 or more
    /// @param count maximum number of pairs
    Batch heldOutBatch(int from, int count) throws IOException, InterruptedException;

    /// Number of pairs that are trained on, or of prompts from which they are generated.
    int trainingPairs();

    /// Number of pairs that are held out.
    int heldOutPairs();

    /// Entries of the run's manifest that identify the pairs. A run resumes only where they are the same.
    Map<String, Object> identity() throws IOException;

    /// The generation of pairs so far.
    ///
    /// @param seconds time that it took
    /// @param pairs number of pairs generated
    record Generation(double seconds, long pairs) {}

    /// The generation of pairs so far, whose time [#batch] spends at some steps and not at others;
    /// nothing where pairs are read.
    default Generation generation() {
        return new Generation(0, 0);
    }

    /// Writes what later batches depend on besides the seed and the step, into a checkpoint that is
    /// being written.
    default void save(Path checkpoint) throws IOException {}

    /// Restores what [#save] wrote.
    ///
    /// @throws IOException when a file is missing or does not fit
    default void restore(Path checkpoint) throws IOException {}

    @Override
    void close();
}
