package org.smpo.ffi;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/// What a sampling run starts from. The tensors stay the caller's, and may be closed once the sampler is open.
///
/// @param noise `[B,in_channels,h,w]`: standard normal, the start before the table's initial scale
/// @param condition of the prompts
/// @param negative of the negative prompts, of the same shapes; null without guidance
/// @param guidanceScale 1: none
/// @param guidanceRescale 0 to 1: Lin et al., arXiv 2305.08891, section 3.4; 0: none
/// @param items one per row of the batch, 0 to 2^56 - 1: whose the noise of each row is; null if no row of the table
///     draws any
public record SamplerInputs(
        DeviceTensor noise,
        Condition condition,
        Condition negative,
        double guidanceScale,
        double guidanceRescale,
        List<Long> items) {

    /// Noise and condition may not be null.
    public SamplerInputs {
        Objects.requireNonNull(noise, "noise");
        Objects.requireNonNull(condition, "condition");
        items = items == null ? null : List.copyOf(items);
    }

    /// Text as a UNet takes it.
    ///
    /// @param encoderHiddenStates `[B,S,cross_attention_dim]`
    /// @param textEmbeds pooled text `[B,E]` for a model with `text_time`, else null
    /// @param timeIds `[B,K]` F32 for a model with `text_time`, else null
    public record Condition(DeviceTensor encoderHiddenStates, DeviceTensor textEmbeds, DeviceTensor timeIds)
            implements AutoCloseable {

        /// The hidden states may not be null.
        public Condition {
            Objects.requireNonNull(encoderHiddenStates, "encoderHiddenStates");
        }

        /// Closes the tensors.
        @Override
        public void close() {
            for (DeviceTensor tensor : Arrays.asList(encoderHiddenStates, textEmbeds, timeIds)) {
                if (tensor != null) {
                    tensor.close();
                }
            }
        }
    }
}
