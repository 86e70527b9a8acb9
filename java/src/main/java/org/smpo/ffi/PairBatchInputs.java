package org.smpo.ffi;

import java.util.Objects;

/// What a batch of W pairs is made of. Images are in rows: row p is the winner of pair p, row W + p its loser. The
/// tensors stay the caller's, and may be closed once the batch is open; arrays are read once.
///
/// @param step of the random numbers that the batch draws, an unsigned 32-bit number
/// @param keepPredictions whether [PairBatch#tensor] also gives predictions
/// @param latents `[2W,C,h,w]` F32: clean, scaled as the UNet takes them
/// @param encoderHiddenStates `[W,S,D]`: the prompt of both images of a pair
/// @param textEmbeds `[W,E]` for a model with `text_time`, else null
/// @param timeIds `[2W,K]` F32 for a model with `text_time`, else null
/// @param timesteps 2W: training timestep of each image
/// @param items 2W: whose the random numbers of each image are, 0 to 2^44 - 1
@SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
public record PairBatchInputs(
        int step,
        boolean keepPredictions,
        DeviceTensor latents,
        DeviceTensor encoderHiddenStates,
        DeviceTensor textEmbeds,
        DeviceTensor timeIds,
        int[] timesteps,
        long[] items) {

    /// @throws InvalidArgumentException when the arrays have different lengths, or an odd or no number of entries
    public PairBatchInputs {
        Objects.requireNonNull(latents, "latents");
        Objects.requireNonNull(encoderHiddenStates, "encoderHiddenStates");
        if (timesteps.length != items.length || timesteps.length == 0 || timesteps.length % 2 != 0) {
            throw new InvalidArgumentException(
                    "PairBatchInputs: timesteps and items: expected two entries for each pair, got " + timesteps.length
                            + " and " + items.length,
                    0);
        }
    }

    /// W.
    public int pairs() {
        return timesteps.length / 2;
    }
}
