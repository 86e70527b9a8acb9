package org.smpo.ffi;

import java.util.List;

/// The architecture of an `AutoencoderKL`, with diffusers' names. The library checks the values when the
/// model is opened.
///
/// @param inChannels Number of channels of the encoder's input images
/// @param outChannels Number of channels of the decoded images
/// @param latentChannels Number of channels of the latents
/// @param blockOutChannels Number of channels of each level, finest first; as many levels as entries, 1
///     to 8
/// @param layersPerBlock Number of resnets of each level of the encoder
/// @param normNumGroups Number of groups of each group norm
/// @param useQuantConv Whether a 1x1 convolution follows the encoder
/// @param usePostQuantConv Whether a 1x1 convolution precedes the decoder
/// @param midBlockAttention Whether the middle blocks have attention
public record VaeSpec(
        int inChannels,
        int outChannels,
        int latentChannels,
        List<Integer> blockOutChannels,
        int layersPerBlock,
        int normNumGroups,
        boolean useQuantConv,
        boolean usePostQuantConv,
        boolean midBlockAttention) {

    /// Copies the list.
    ///
    /// @throws InvalidArgumentException when there are no levels, or more than eight
    public VaeSpec {
        blockOutChannels = List.copyOf(blockOutChannels);
        int levels = blockOutChannels.size();
        if (levels < 1 || levels > Native.MAX_LEVELS) {
            throw new InvalidArgumentException(
                    "VaeSpec: blockOutChannels: expected 1 to " + Native.MAX_LEVELS + " levels, got " + levels, 0);
        }
    }

    void write(Struct spec) {
        spec.set("in_channels", inChannels);
        spec.set("out_channels", outChannels);
        spec.set("latent_channels", latentChannels);
        spec.set("levels", blockOutChannels.size());
        spec.set("block_out_channels", blockOutChannels);
        spec.set("layers_per_block", layersPerBlock);
        spec.set("norm_num_groups", normNumGroups);
        spec.set("use_quant_conv", useQuantConv ? 1 : 0);
        spec.set("use_post_quant_conv", usePostQuantConv ? 1 : 0);
        spec.set("mid_block_attention", midBlockAttention ? 1 : 0);
    }
}
