package org.smpo.ffi;

import java.util.List;

/// The architecture of a `UNet2DConditionModel`, by diffusers' names. Lists go by level, finest (first down block)
/// first, but for `upAttention`, which is in the order of the up blocks.
///
/// Values are checked by the library when the model is opened; here only that each list has an entry for each
/// level.
///
/// @param inChannels of the latents that go in
/// @param outChannels of the prediction
/// @param blockOutChannels channels of each level; as many levels as entries, 1 to 8
/// @param downAttention whether each down block attends to the text
/// @param upAttention whether each up block does
/// @param layersPerBlock resnets of each down block
/// @param transformerLayers transformer blocks per attention
/// @param attentionHeads number of heads
/// @param crossAttentionDim width of the text embeddings
/// @param useLinearProjection projections around attention are linear, not 1x1 convolutions
/// @param normNumGroups groups of each group norm
/// @param flipSinToCos the time embedding has cosines first
/// @param additionTimeEmbedDim channels of each embedded size (`text_time`); 0: no addition embedding
/// @param projectionClassEmbeddingsInputDim width of the pooled text plus the embedded sizes; 0 without them
/// @param normEps of each group norm
/// @param freqShift of the time embedding
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

    /// @throws InvalidArgumentException when there are more than eight levels or a list has not one entry for each
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
