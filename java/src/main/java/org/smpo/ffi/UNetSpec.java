package org.smpo.ffi;

import java.util.List;

/// The architecture of a `UNet2DConditionModel`, with diffusers' names. Lists have one entry per level,
/// finest (first down block) first, except `upAttention`, which is in the order of the up blocks.
///
/// The constructor only checks that each list has one entry per level. The library checks the values
/// when the model is opened.
///
/// @param inChannels Number of channels of the input latents
/// @param outChannels Number of channels of the prediction
/// @param blockOutChannels Number of channels of each level; as many levels as entries, 1 to 8
/// @param downAttention Whether each down block attends to the text
/// @param upAttention Whether each up block attends to the text
/// @param layersPerBlock Number of resnets of each down block
/// @param transformerLayers Number of transformer blocks per attention
/// @param attentionHeads Number of attention heads
/// @param crossAttentionDim Width of the text embeddings
/// @param useLinearProjection Whether projections around attention are linear instead of 1x1
///     convolutions
/// @param normNumGroups Number of groups of each group norm
/// @param flipSinToCos Whether the time embedding has cosines first
/// @param additionTimeEmbedDim Number of channels of each embedded size (`text_time`); 0 means no
///     addition embedding
/// @param projectionClassEmbeddingsInputDim Width of the pooled text plus the embedded sizes; 0 without
///     them
/// @param normEps Epsilon of each group norm
/// @param freqShift Frequency shift of the time embedding
public record UNetSpec(
        int inChannels,
        int outChannels,
        List<Integer> blockOutChannels,
        List<Boolean> downAttention,
        List<Boolean> upAttention,
        List<Integer> layersPerBlock,
        List<Integer> transformerLayers,
        List<Integer> attentionHeads,
        int crossAttentionDim,
        boolean useLinearProjection,
        int normNumGroups,
        boolean flipSinToCos,
        int additionTimeEmbedDim,
        int projectionClassEmbeddingsInputDim,
        double normEps,
        double freqShift) {

    /// Copies the lists.
    ///
    /// @throws InvalidArgumentException unless there are 1 to 8 levels and each list has one entry per
    ///     level
    public UNetSpec {
        blockOutChannels = List.copyOf(blockOutChannels);
        int levels = blockOutChannels.size();
        if (levels < 1 || levels > Native.MAX_LEVELS) {
            throw new InvalidArgumentException(
                    "UNetSpec: blockOutChannels: expected 1 to " + Native.MAX_LEVELS + " levels, got " + levels, 0);
        }
        downAttention = byLevel("downAttention", downAttention, levels);
        upAttention = byLevel("upAttention", upAttention, levels);
        layersPerBlock = byLevel("layersPerBlock", layersPerBlock, levels);
        transformerLayers = byLevel("transformerLayers", transformerLayers, levels);
        attentionHeads = byLevel("attentionHeads", attentionHeads, levels);
    }

    private static <T> List<T> byLevel(String name, List<T> values, int levels) {
        if (values.size() != levels) {
            throw new InvalidArgumentException(
                    "UNetSpec: " + name + ": expected " + levels + " entries, one per level, got " + values.size(), 0);
        }
        return List.copyOf(values);
    }

    void write(Struct spec) {
        spec.set("in_channels", inChannels);
        spec.set("out_channels", outChannels);
        spec.set("levels", blockOutChannels.size());
        spec.set("block_out_channels", blockOutChannels);
        spec.set("down_attention", flags(downAttention));
        spec.set("up_attention", flags(upAttention));
        spec.set("layers_per_block", layersPerBlock);
        spec.set("transformer_layers", transformerLayers);
        spec.set("attention_heads", attentionHeads);
        spec.set("cross_attention_dim", crossAttentionDim);
        spec.set("use_linear_projection", useLinearProjection ? 1 : 0);
        spec.set("norm_num_groups", normNumGroups);
        spec.set("flip_sin_to_cos", flipSinToCos ? 1 : 0);
        spec.set("addition_time_embed_dim", additionTimeEmbedDim);
        spec.set("projection_class_embeddings_input_dim", projectionClassEmbeddingsInputDim);
        spec.set("norm_eps", normEps);
        spec.set("freq_shift", freqShift);
    }

    private static List<Integer> flags(List<Boolean> values) {
        return values.stream().map(value -> value ? 1 : 0).toList();
    }
}
