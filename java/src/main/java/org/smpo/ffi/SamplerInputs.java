package org.smpo.ffi;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/// The inputs of a sampling run. The caller owns the tensors and may close them once the sampler is
/// open.
///
/// @param noise Standard normal noise `[B,in_channels,h,w]`, before the plan's initial scale is applied
/// @param condition Condition of the prompts
/// @param negative Condition of the negative prompts, of the same shapes unless two networks predict;
///     null without guidance
/// @param guidanceScale Guidance scale; 1 means no guidance
/// @param guidanceRescale Guidance rescale of Lin et al., arXiv 2305.08891, section 3.4, 0 to 1; 0 means
///     none
/// @param items Items that number the noise of each row of the batch, one per row, 0 to 2^56 - 1; null
///     if no row of the plan adds noise
/// @param negativeNetwork Network that predicts the negative side of guidance
public record SamplerInputs(
        DeviceTensor noise,
        Condition condition,
        Condition negative,
        double guidanceScale,
        double guidanceRescale,
        List<Long> items,
        NegativeNetwork negativeNetwork) {

    /// Requires noise, a condition and the negative network.
    public SamplerInputs {
        Objects.requireNonNull(noise, "noise");
        Objects.requireNonNull(condition, "condition");
        Objects.requireNonNull(negativeNetwork, "negativeNetwork");
        items = items == null ? null : List.copyOf(items);
    }

    /// The network that predicts the negative side of guidance.
    public sealed interface NegativeNetwork {
        /// The model itself, which predicts both sides in one batch.
        record Same() implements NegativeNetwork {}

        /// Another UNet with the model's number of latent channels.
        ///
        /// @param unet the network; the caller keeps ownership
        record Other(NativeModel unet) implements NegativeNetwork {
            /// Requires the network.
            public Other {
                Objects.requireNonNull(unet, "unet");
            }
        }

        /// The model with its adapters; the model without them predicts the prompt's side.
        record Adapters() implements NegativeNetwork {}
    }

    /// The text condition of a UNet.
    ///
    /// @param encoderHiddenStates Text embeddings `[B,S,cross_attention_dim]`
    /// @param textEmbeds Pooled text `[B,E]` for a model with `text_time`, else null
    /// @param timeIds Embedded sizes `[B,K]` F32 for a model with `text_time`, else null
    public record Condition(DeviceTensor encoderHiddenStates, DeviceTensor textEmbeds, DeviceTensor timeIds)
            implements AutoCloseable {

        /// Requires the hidden states.
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
