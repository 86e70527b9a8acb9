package org.smpo.ffi;

import java.util.Objects;

/// What a UNet predicts from. The tensors stay the caller's.
///
/// @param sample `[B,in_channels,h,w]`, any height and width
/// @param timesteps `[B]` F32: any numbers, fractions and negative ones too
/// @param encoderHiddenStates `[B,S,cross_attention_dim]`
/// @param textEmbeds pooled text `[B,E]` for a model with `text_time`, else null
/// @param timeIds `[B,K]` F32 for a model with `text_time`, else null
public record UNetInputs(
        DeviceTensor sample,
        DeviceTensor timesteps,
        DeviceTensor encoderHiddenStates,
        DeviceTensor textEmbeds,
        DeviceTensor timeIds) {

    /// The first three may not be null.
    public UNetInputs {
        Objects.requireNonNull(sample, "sample");
        Objects.requireNonNull(timesteps, "timesteps");
        Objects.requireNonNull(encoderHiddenStates, "encoderHiddenStates");
    }

    /// For a model without `text_time`.
    public static UNetInputs of(DeviceTensor sample, DeviceTensor timesteps, DeviceTensor encoderHiddenStates) {
        return new UNetInputs(sample, timesteps, encoderHiddenStates, null, null);
    }
}
