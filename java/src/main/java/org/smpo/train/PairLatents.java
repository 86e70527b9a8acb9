package org.smpo.train;

import java.util.Arrays;
import org.smpo.ffi.DeviceTensor;

/// A batch of W pairs as the UNet takes them, with the numbers that the objective reads. Images are in rows:
/// row p is the winner of pair p, row W + p its loser. Closing it closes the tensors.
///
/// @param latents clean, scaled latents `[2W,C,h,w]`, F32
/// @param encoderHiddenStates embeddings of the pairs' prompts `[W,S,D]`
/// @param textEmbeds pooled embeddings `[W,E]` for SDXL, else null
/// @param timeIds size conditioning `[2W,6]`, F32, for SDXL, else null
/// @param timesteps 2W: training timestep of each image
/// @param label W: the smoothed label p of each pair, or another value that the objective reads; null if
///     it reads none
/// @param items 2W numbers that tell the random values of the images apart
@SuppressWarnings("ArrayRecordComponent") // a bundle of arguments, never compared
public record PairLatents(
        DeviceTensor latents,
        DeviceTensor encoderHiddenStates,
        DeviceTensor textEmbeds,
        DeviceTensor timeIds,
        int[] timesteps,
        double[] label,
        long[] items)
        implements AutoCloseable {

    public PairLatents {
        int pairs = timesteps.length / 2;
        if (timesteps.length != 2 * pairs || items.length != 2 * pairs || (label != null && label.length != pairs)) {
            throw new IllegalArgumentException("pair latents: expected " + pairs + " labels, " + 2 * pairs
                    + " timesteps and as many items, got " + timesteps.length + " timesteps and "
                    + (label == null ? "none" : label.length) + " and " + items.length);
        }
    }

    /// The number of pairs W.
    public int pairs() {
        return timesteps.length / 2;
    }

    @Override
    public void close() {
        for (DeviceTensor tensor : Arrays.asList(latents, encoderHiddenStates, textEmbeds, timeIds)) {
            if (tensor != null) {
                tensor.close();
            }
        }
    }
}
