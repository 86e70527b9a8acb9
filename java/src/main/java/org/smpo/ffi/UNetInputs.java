package org.smpo.ffi;

import java.util.Objects;

/// The inputs of a UNet. The caller owns the tensors.
///
/// @param sample Noised latents `[B,in_channels,h,w]` of any height and width
/// @param timesteps Timesteps `[B]` F32; fractions and negative numbers are allowed
/// @param encoderHiddenStates Text embeddings `[B,S,cross_attention_dim]`
/// @param textEmbeds Pooled text `[B,E]` for a model with `text_time`, else null
/// @param timeIds Embedded sizes `[B,K]` F32 for a model with `text_time`, else null
public record UNetInputs(
        DeviceTensor sample,
        DeviceTensor timesteps,
        DeviceTensor encoderHiddenStates,
        DeviceTensor textEmbeds,
        DeviceTensor timeIds) {

    /// Requires the first three tensors.
    public UNetInputs {
        Objects.requireNonNull(sample, "sample");
        Objects.requireNonNull(timesteps, "timesteps");
        Objects.requireNonNull(encoderHiddenStates, "encoderHiddenStates");
    }

    /// Returns inputs for a model without `text_time`.
    public static UNetInputs of(DeviceTensor sample, DeviceTensor timesteps, DeviceTensor encoderHiddenStates) {
        return new UNetInputs(sample, timesteps, encoderHiddenStates, null, null);
    }
}
