package org.smpo.train;

import java.util.Arrays;
import org.smpo.ffi.DeviceTensor;

/// A window of W pairs as the UNet takes them, and what the objective is told about each. Images are in rows: row p
/// is the winner of pair p, row W + p its loser. Closing it closes the tensors.
///
/// @param latents `[2W,C,h,w]` F32: clean, scaled
/// @param encoderHiddenStates `[W,S,D]`: the prompt of both images of a pair
/// @param textEmbeds `[W,E]` for SDXL, else null
/// @param timeIds `[2W,6]` F32 for SDXL, else null
/// @param timesteps W: training timestep of each pair
/// @param label W: the smoothed label p of each pair, or what else the objective reads; null where it reads none
/// @param items 2W: whose the random numbers of each image are
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
        int pairs = timesteps.length;
        if (items.length != 2 * pairs || (label != null && label.length != pairs)) {
            throw new IllegalArgumentException("pair latents: expected " + pairs + " labels and " + 2 * pairs
                    + " items, got " + (label == null ? "none" : label.length) + " and " + items.length);
        }
    }

    /// W.
    public int pairs() {
        return timesteps.length;
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
