package org.smpo.ffi;

import java.util.Objects;

/// The inputs of a batch of W pairs. Images are rows: row p is the winner of pair p, row W + p its
/// loser. A batch of single images has W rows, and every 2W below is W. The caller owns the tensors and
/// may close them once the batch is open. The arrays are read once.
///
/// @param step Step that numbers the batch's random numbers, an unsigned 32-bit number
/// @param keepPredictions Whether [PairBatch#tensor] can also return predictions
/// @param latents Clean latents `[2W,C,h,w]` F32, scaled as the UNet's input; null for a batch whose
///     noised latents are given ([PairBatch#set])
/// @param encoderHiddenStates Text embeddings `[W,S,D]` of the prompt that both images of a pair share
/// @param textEmbeds Pooled text `[W,E]` for a model with `text_time`, else null
/// @param timeIds Embedded sizes `[2W,K]` F32 for a model with `text_time`, else null; `[W,K]` with a
///     shared sample
/// @param timesteps Training timesteps, one per image (2W)
/// @param items Items that number the random numbers of each image (2W), 0 to 2^44 - 1
/// @param single Whether the batch has W single images instead of W pairs
/// @param guidance Guidance of policy and reference in the loss; null for none
/// @param sharedSample Whether both images of a pair have the same noised latents, timestep and sizes,
///     so that one prediction serves both; the latents are then null
@SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
public record PairBatchInputs(
        int step,
        boolean keepPredictions,
        DeviceTensor latents,
        DeviceTensor encoderHiddenStates,
        DeviceTensor textEmbeds,
        DeviceTensor timeIds,
        int[] timesteps,
        long[] items,
        boolean single,
        Guidance guidance,
        boolean sharedSample) {

    /// Guidance in the loss: the prediction is n + scale (p - n), where n is that for the negative
    /// prompt.
    ///
    /// @param scale Guidance scale, not 0
    /// @param encoderHiddenStates Text embeddings of the negative prompts `[W,S,D]`
    /// @param textEmbeds Their pooled text `[W,E]` for a model with `text_time`, else null
    public record Guidance(double scale, DeviceTensor encoderHiddenStates, DeviceTensor textEmbeds) {
        public Guidance {
            Objects.requireNonNull(encoderHiddenStates, "encoderHiddenStates");
        }
    }

    /// The inputs of a batch of clean latents without guidance.
    public PairBatchInputs(
            int step,
            boolean keepPredictions,
            DeviceTensor latents,
            DeviceTensor encoderHiddenStates,
            DeviceTensor textEmbeds,
            DeviceTensor timeIds,
            int[] timesteps,
            long[] items,
            boolean single) {
        this(
                step,
                keepPredictions,
                Objects.requireNonNull(latents, "latents"),
                encoderHiddenStates,
                textEmbeds,
                timeIds,
                timesteps,
                items,
                single,
                null,
                false);
    }

    /// @throws InvalidArgumentException when the arrays have different lengths, or an odd or no number
    ///     of entries
    public PairBatchInputs {
        Objects.requireNonNull(encoderHiddenStates, "encoderHiddenStates");
        if (timesteps.length != items.length || timesteps.length == 0 || (!single && timesteps.length % 2 != 0)) {
            throw new InvalidArgumentException(
                    "PairBatchInputs: timesteps and items: expected "
                            + (single ? "one entry for each image" : "two entries for each pair") + ", got "
                            + timesteps.length + " and " + items.length,
                    0);
        }
    }

    /// The number of pairs or single images, W.
    public int pairs() {
        return single ? timesteps.length : timesteps.length / 2;
    }
}
