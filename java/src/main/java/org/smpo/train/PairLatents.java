package org.smpo.train;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.PairBatchInputs;
import org.smpo.objective.Objective;
import org.smpo.objective.PairInput;

/// A batch of W pairs as the UNet takes them, with the numbers that the objective reads. Images are in
/// rows: row p is the winner of pair p, row W + p its loser. A batch of W single images has one row of
/// each, and every 2W below is W. Closing it closes the tensors.
///
/// @param latents clean, scaled latents `[2W,C,h,w]`, F32; null where noised latents are given
/// @param encoderHiddenStates embeddings of the pairs' prompts `[W,S,D]`
/// @param textEmbeds pooled embeddings `[W,E]` for SDXL, else null
/// @param timeIds size conditioning `[2W,6]`, F32, for SDXL, else null; `[W,6]` where noised latents
///     are given
/// @param timesteps 2W: training timestep of each image
/// @param label W: the smoothed label p of each pair, or another value that the objective reads; null if
///     it reads none
/// @param weight W: factor of each pair's loss and gradient; null: 1
/// @param items 2W numbers that tell the random values of the images apart
/// @param single whether these are W single images instead of W pairs
/// @param desirable whether each single image is desirable; null where the objective does not ask
/// @param given noised latents and targets that the pairs bring; null where the method makes them
/// @param start where a teacher's rollout of each image starts; null where the method has none
@SuppressWarnings("ArrayRecordComponent") // a bundle of arguments, never compared
public record PairLatents(
        DeviceTensor latents,
        DeviceTensor encoderHiddenStates,
        DeviceTensor textEmbeds,
        DeviceTensor timeIds,
        int[] timesteps,
        double[] label,
        double[] weight,
        long[] items,
        boolean single,
        boolean[] desirable,
        Given given,
        Start start)
        implements AutoCloseable {

    /// Noised latents and targets of steps of trajectories. Both images of a pair share their noised
    /// latents.
    ///
    /// @param noised latents before the step `[W,C,h,w]`, F32
    /// @param target targets of the winners, then of the losers `[2W,C,h,w]`, F32
    /// @param logitScale W: logit scale of each pair
    /// @param guidance guidance in the loss; null for none
    @SuppressWarnings("ArrayRecordComponent") // a bundle of arguments, never compared
    record Given(DeviceTensor noised, DeviceTensor target, double[] logitScale, PairBatchInputs.Guidance guidance) {
        private List<DeviceTensor> tensors() {
            return guidance == null
                    ? List.of(noised, target)
                    : Arrays.asList(noised, target, guidance.encoderHiddenStates(), guidance.textEmbeds());
        }
    }

    /// Where a teacher's rollouts start, and their prompt.
    ///
    /// @param timesteps timestep from which the rollout of each image starts
    /// @param encoderHiddenStates embedding of the prompt of all rollouts `[1,S,D]`
    /// @param textEmbeds its pooled embedding `[1,E]` for SDXL, else null
    @SuppressWarnings("ArrayRecordComponent") // a bundle of arguments, never compared
    record Start(int[] timesteps, DeviceTensor encoderHiddenStates, DeviceTensor textEmbeds) {}

    /// A batch of clean latents.
    public PairLatents(
            DeviceTensor latents,
            DeviceTensor encoderHiddenStates,
            DeviceTensor textEmbeds,
            DeviceTensor timeIds,
            int[] timesteps,
            double[] label,
            double[] weight,
            long[] items,
            boolean single,
            boolean[] desirable) {
        this(
                latents,
                encoderHiddenStates,
                textEmbeds,
                timeIds,
                timesteps,
                label,
                weight,
                items,
                single,
                desirable,
                null,
                null);
    }

    public PairLatents {
        int images = single ? 1 : 2;
        int pairs = timesteps.length / images;
        if (timesteps.length != images * pairs
                || items.length != images * pairs
                || (label != null && label.length != pairs)
                || (weight != null && weight.length != pairs)
                || (desirable != null && (!single || desirable.length != pairs))) {
            throw new IllegalArgumentException("pair latents: expected " + pairs + " labels and weights, "
                    + images * pairs + " timesteps and as many items, got " + count(label) + ", " + count(weight)
                    + ", " + timesteps.length + " and " + items.length + ", and "
                    + (desirable == null ? "no" : desirable.length) + " flags of "
                    + (single ? "single images" : "pairs"));
        }
    }

    /// A batch of pairs.
    public PairLatents(
            DeviceTensor latents,
            DeviceTensor encoderHiddenStates,
            DeviceTensor textEmbeds,
            DeviceTensor timeIds,
            int[] timesteps,
            double[] label,
            double[] weight,
            long[] items) {
        this(latents, encoderHiddenStates, textEmbeds, timeIds, timesteps, label, weight, items, false, null);
    }

    private static String count(double[] values) {
        return values == null ? "none" : "" + values.length;
    }

    /// The number of pairs or single images, W.
    public int pairs() {
        return single ? timesteps.length : timesteps.length / 2;
    }

    /// These images with the starts of their rollouts, which are closed with them.
    PairLatents withStart(Start rollouts) {
        return new PairLatents(
                latents,
                encoderHiddenStates,
                textEmbeds,
                timeIds,
                timesteps,
                label,
                weight,
                items,
                single,
                desirable,
                given,
                rollouts);
    }

    /// Opens these pairs as a batch of the engine, whose tensors can be read; see [PairBatch#tensor].
    ///
    /// @param step step number for the random numbers
    /// @param keepPredictions whether the predictions of the networks can be read, too
    PairBatch open(Engine engine, long step, boolean keepPredictions) {
        return PairBatch.open(
                engine,
                new PairBatchInputs(
                        (int) step,
                        keepPredictions,
                        latents,
                        encoderHiddenStates,
                        textEmbeds,
                        timeIds,
                        timesteps,
                        items,
                        single,
                        given == null ? null : given.guidance(),
                        given != null));
    }

    /// The labels of the pairs, if an objective reads them.
    ///
    /// @return null where the objective reads none
    /// @throws IllegalArgumentException when the objective reads labels and these pairs have none
    double[] labelsFor(Objective objective) {
        boolean reads = objective.inputs().contains(PairInput.LABEL)
                || objective.inputs().contains(PairInput.REWARD_MARGIN);
        if (reads && label == null) {
            throw new IllegalArgumentException(objective.name() + ": label: expected one for each pair, got none");
        }
        return reads ? label : null;
    }

    @Override
    public void close() {
        List<DeviceTensor> all = new ArrayList<>(Arrays.asList(latents, encoderHiddenStates, textEmbeds, timeIds));
        if (given != null) {
            all.addAll(given.tensors());
        }
        if (start != null) {
            all.add(start.encoderHiddenStates());
            all.add(start.textEmbeds());
        }
        for (DeviceTensor tensor : all) {
            if (tensor != null) {
                tensor.close();
            }
        }
    }
}
