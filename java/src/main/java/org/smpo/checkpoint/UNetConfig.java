package org.smpo.checkpoint;

import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// A `UNet2DConditionModel` of Stable Diffusion 1.x, 2.x, SDXL or its refiner: diffusers' `unet/config.json`, with
/// every value that may be a scalar or a list turned into one entry per block.
///
/// @param inChannels Number of channels of the latents
/// @param outChannels Number of channels of the prediction, the same
/// @param blockOutChannels Number of channels of each level, in the order of the down blocks
/// @param downAttention Whether each down block has attention (CrossAttnDownBlock2D or DownBlock2D)
/// @param upAttention Whether each up block has attention, deepest first
/// @param layersPerBlock Number of resnets of each down block; an up block has one more
/// @param transformerLayers Number of transformer blocks per attention, by level; the middle has the deepest
///     level's
/// @param attentionHeads Number of heads by level, which files call `attention_head_dim`
/// @param crossAttentionDim Width of the text embeddings
/// @param useLinearProjection Whether projections around attention are linear instead of 1x1 convolutions
/// @param upcastAttention Whether attention scores are computed in fp32
/// @param normNumGroups Number of groups of each group norm
/// @param flipSinToCos Whether the time embedding has cosines first
/// @param additionEmbed Whether pooled text and sizes condition the model too (`text_time`, SDXL)
/// @param additionTimeEmbedDim Number of channels of each embedded size; 0 without them
/// @param projectionClassEmbeddingsInputDim Width of the pooled text plus embedded sizes; 0 without them
/// @param normEps Epsilon of each group norm
/// @param freqShift Frequency shift of the time embedding
/// @param sampleSize Side of the latents that the model was trained on; 0 when the file does not name it
/// @param json Parsed file
/// @param unknownKeys Keys that UNet2DConditionModel does not take
public record UNetConfig(
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
        boolean upcastAttention,
        int normNumGroups,
        boolean flipSinToCos,
        boolean additionEmbed,
        int additionTimeEmbedDim,
        int projectionClassEmbeddingsInputDim,
        double normEps,
        double freqShift,
        int sampleSize,
        JsonObject json,
        List<String> unknownKeys)
        implements ModelConfig {
    /// Most levels that a model may have.
    public static final int MAX_LEVELS = 8;

    private static final String DOWN_ATTENTION = "CrossAttnDownBlock2D";
    private static final String UP_ATTENTION = "CrossAttnUpBlock2D";

    public UNetConfig {
        blockOutChannels = List.copyOf(blockOutChannels);
        downAttention = List.copyOf(downAttention);
        upAttention = List.copyOf(upAttention);
        layersPerBlock = List.copyOf(layersPerBlock);
        transformerLayers = List.copyOf(transformerLayers);
        attentionHeads = List.copyOf(attentionHeads);
        unknownKeys = List.copyOf(unknownKeys);
    }

    /// Reads a config.
    ///
    /// @throws ModelException for a value that we do not support, naming the file, the key, the value and what is
    ///     supported
    public static UNetConfig parse(JsonObject json) throws ModelException {
        ConfigReader in = new ConfigReader(json);
        in.className("UNet2DConditionModel");
        List<Integer> channels = in.integers("block_out_channels", List.of(320, 640, 1280, 1280), 0);
        int levels = channels.size();
        in.require(levels <= MAX_LEVELS, "block_out_channels", "at most " + MAX_LEVELS + " blocks", channels);
        List<String> down = in.choices(
                "down_block_types",
                List.of(DOWN_ATTENTION, DOWN_ATTENTION, DOWN_ATTENTION, "DownBlock2D"),
                DOWN_ATTENTION,
                "DownBlock2D");
        List<String> up = in.choices(
                "up_block_types",
                List.of("UpBlock2D", UP_ATTENTION, UP_ATTENTION, UP_ATTENTION),
                UP_ATTENTION,
                "UpBlock2D");
        in.require(down.size() == levels, "down_block_types", "as many as block_out_channels (" + levels + ")", down);
        in.require(up.size() == levels, "up_block_types", "as many as block_out_channels (" + levels + ")", up);
        in.choice("mid_block_type", "UNetMidBlock2DCrossAttn", "UNetMidBlock2DCrossAttn");
        int groups = in.integer("norm_num_groups", 32, 1);
        List<Integer> heads = in.perLevel("attention_head_dim", 8, levels);
        for (int i = 0; i < levels; i++) {
            in.require(
                    channels.get(i) % groups == 0,
                    "block_out_channels",
                    "multiples of norm_num_groups (" + groups + ")",
                    channels);
            in.require(
                    channels.get(i) % heads.get(i) == 0,
                    "attention_head_dim",
                    "numbers of heads that divide block_out_channels " + channels,
                    heads);
        }
        // The time embedding holds a sine and a cosine of each frequency.
        in.require(channels.get(0) % 2 == 0, "block_out_channels", "an even first entry", channels);
        int outChannels = in.integer("out_channels", 4, 1);
        int inChannels = in.integer("in_channels", 4, 1);
        in.require(
                inChannels == outChannels,
                "in_channels",
                "as many as out_channels (" + outChannels
                        + "); a model with 9 is for inpainting, one with 8 for editing or upscaling, and we do neither",
                inChannels);
        boolean addition = additionEmbed(in);
        UNetConfig config = new UNetConfig(
                inChannels,
                outChannels,
                channels,
                down.stream().map(DOWN_ATTENTION::equals).toList(),
                up.stream().map(UP_ATTENTION::equals).toList(),
                in.layersPerLevel("layers_per_block", 2, levels),
                in.layersPerLevel("transformer_layers_per_block", 1, levels),
                heads,
                in.uniform("cross_attention_dim", 1280, levels),
                in.flag("use_linear_projection", false),
                in.flag("upcast_attention", false),
                groups,
                in.flag("flip_sin_to_cos", true),
                addition,
                addition ? in.integer("addition_time_embed_dim", null, 2) : 0,
                addition ? in.integer("projection_class_embeddings_input_dim", null, 1) : 0,
                in.positive("norm_eps", 1e-5),
                in.number("freq_shift", 0),
                in.side("sample_size", null),
                json,
                supportOnlyDefaults(in));
        return config;
    }

    private static boolean additionEmbed(ConfigReader in) throws ModelException {
        in.only("addition_embed_type", null, null, "text_time");
        in.tolerate(
                "addition_time_embed_dim", "projection_class_embeddings_input_dim", "addition_embed_type_num_heads");
        return in.json().has("addition_embed_type");
    }

    /// Checks the other keys of UNet2DConditionModel, which all supported models leave at their defaults.
    private static List<String> supportOnlyDefaults(ConfigReader in) throws ModelException {
        in.only("act_fn", "silu", "silu", "swish");
        in.only("attention_type", "default", "default");
        in.only("center_input_sample", false, false);
        in.only("class_embed_type", null, (Object) null);
        in.only("class_embeddings_concat", false, false);
        in.only("conv_in_kernel", 3, 3);
        in.only("conv_out_kernel", 3, 3);
        in.only("cross_attention_norm", null, (Object) null);
        in.only("downsample_padding", 1, 1);
        in.only("dropout", 0.0, 0.0);
        in.only("dual_cross_attention", false, false);
        in.only("encoder_hid_dim", null, (Object) null);
        in.only("encoder_hid_dim_type", null, (Object) null);
        in.only("mid_block_only_cross_attention", null, null, false);
        in.only("mid_block_scale_factor", 1, 1);
        in.only("num_attention_heads", null, (Object) null);
        in.only("num_class_embeds", null, (Object) null);
        in.only("only_cross_attention", false, false);
        in.only("resnet_out_scale_factor", 1.0, 1.0);
        in.only("resnet_skip_time_act", false, false);
        in.only("resnet_time_scale_shift", "default", "default");
        in.only("reverse_transformer_layers_per_block", null, (Object) null);
        in.only("time_cond_proj_dim", null, (Object) null);
        in.only("time_embedding_act_fn", null, (Object) null);
        in.only("time_embedding_dim", null, (Object) null);
        in.only("time_embedding_type", "positional", "positional");
        in.only("timestep_post_act", null, (Object) null);
        return in.unknown();
    }

    /// Number of blocks on the way down.
    public int levels() {
        return blockOutChannels.size();
    }

    /// Channels of the time embedding.
    public int timeEmbedDim() {
        return 4 * blockOutChannels.get(0);
    }

    @Override
    public Map<String, List<Long>> parameters() {
        ParameterTable table = new ParameterTable();
        long first = blockOutChannels.get(0);
        long time = timeEmbedDim();
        table.conv("conv_in", first, inChannels, 3);
        table.linear("time_embedding.linear_1", time, first, true);
        table.linear("time_embedding.linear_2", time, time, true);
        if (additionEmbed) {
            table.linear("add_embedding.linear_1", time, projectionClassEmbeddingsInputDim, true);
            table.linear("add_embedding.linear_2", time, time, true);
        }
        for (int i = 0; i < levels(); i++) {
            down(table, i);
        }
        for (int i = 0; i < levels(); i++) {
            up(table, i);
        }
        int deepest = levels() - 1;
        long channels = blockOutChannels.get(deepest);
        attention(table, "mid_block.attentions.0", channels, transformerLayers.get(deepest));
        table.resnet("mid_block.resnets.0", channels, channels, time);
        table.resnet("mid_block.resnets.1", channels, channels, time);
        table.norm("conv_norm_out", first);
        table.conv("conv_out", outChannels, first, 3);
        return table.shapes();
    }

    private void down(ParameterTable table, int level) {
        String block = "down_blocks." + level;
        long channels = blockOutChannels.get(level);
        long input = blockOutChannels.get(Math.max(level - 1, 0));
        int layers = layersPerBlock.get(level);
        if (downAttention.get(level)) {
            for (int j = 0; j < layers; j++) {
                attention(table, block + ".attentions." + j, channels, transformerLayers.get(level));
            }
        }
        for (int j = 0; j < layers; j++) {
            table.resnet(block + ".resnets." + j, j == 0 ? input : channels, channels, timeEmbedDim());
        }
        if (level < levels() - 1) {
            table.conv(block + ".downsamplers.0.conv", channels, channels, 3);
        }
    }

    private void up(ParameterTable table, int i) {
        String block = "up_blocks." + i;
        int level = levels() - 1 - i;
        long channels = blockOutChannels.get(level);
        long previous = blockOutChannels.get(Math.min(level + 1, levels() - 1));
        long above = blockOutChannels.get(Math.max(level - 1, 0));
        int layers = layersPerBlock.get(level) + 1;
        if (upAttention.get(i)) {
            for (int j = 0; j < layers; j++) {
                attention(table, block + ".attentions." + j, channels, transformerLayers.get(level));
            }
        }
        for (int j = 0; j < layers; j++) {
            // The input joins what comes from below with the skip connection, last saved first.
            long skip = j == layers - 1 ? above : channels;
            table.resnet(block + ".resnets." + j, (j == 0 ? previous : channels) + skip, channels, timeEmbedDim());
        }
        if (level > 0) {
            table.conv(block + ".upsamplers.0.conv", channels, channels, 3);
        }
    }

    private void attention(ParameterTable table, String name, long channels, int layers) {
        table.norm(name + ".norm", channels);
        projection(table, name + ".proj_in", channels);
        for (int k = 0; k < layers; k++) {
            String block = name + ".transformer_blocks." + k;
            table.norm(block + ".norm1", channels);
            heads(table, block + ".attn1", channels, channels);
            table.norm(block + ".norm2", channels);
            heads(table, block + ".attn2", channels, crossAttentionDim);
            table.norm(block + ".norm3", channels);
            table.linear(block + ".ff.net.0.proj", 8 * channels, channels, true);
            table.linear(block + ".ff.net.2", channels, 4 * channels, true);
        }
        projection(table, name + ".proj_out", channels);
    }

    private void projection(ParameterTable table, String name, long channels) {
        if (useLinearProjection) {
            table.linear(name, channels, channels, true);
        } else {
            table.conv(name, channels, channels, 1);
        }
    }

    private static void heads(ParameterTable table, String name, long channels, long context) {
        table.linear(name + ".to_q", channels, channels, false);
        table.linear(name + ".to_k", channels, context, false);
        table.linear(name + ".to_v", channels, context, false);
        table.linear(name + ".to_out.0", channels, channels, true);
    }
}
