package org.smpo.checkpoint;

import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// An `AutoencoderKL`: diffusers' `vae/config.json`.
///
/// @param inChannels Number of channels of the images
/// @param outChannels Number of channels of the decoded images
/// @param latentChannels Number of channels of the latents; the encoder gives twice as many (mean and log
///     variance)
/// @param blockOutChannels Number of channels of each level, finest first; each level but the last halves the
///     image
/// @param layersPerBlock Number of resnets of each encoder block; a decoder block has one more
/// @param normNumGroups Number of groups of each group norm
/// @param useQuantConv Whether a 1x1 convolution follows the encoder
/// @param usePostQuantConv Whether a 1x1 convolution precedes the decoder
/// @param midBlockAttention Whether the middle blocks have attention
/// @param scalingFactor Factor between the VAE's latents and those that the UNet works on
/// @param forceUpcast Whether the model overflows in fp16 and needs fp32 or bf16
/// @param json Parsed file
/// @param unknownKeys Keys that AutoencoderKL does not take
public record VaeConfig(
        int inChannels,
        int outChannels,
        int latentChannels,
        List<Integer> blockOutChannels,
        int layersPerBlock,
        int normNumGroups,
        boolean useQuantConv,
        boolean usePostQuantConv,
        boolean midBlockAttention,
        double scalingFactor,
        boolean forceUpcast,
        JsonObject json,
        List<String> unknownKeys)
        implements ModelConfig {
    public VaeConfig {
        blockOutChannels = List.copyOf(blockOutChannels);
        unknownKeys = List.copyOf(unknownKeys);
    }

    /// Reads a config.
    ///
    /// @throws ModelException for a value that we do not support, naming the file, the key, the value and what is
    ///     supported
    public static VaeConfig parse(JsonObject json) throws ModelException {
        ConfigReader in = new ConfigReader(json);
        in.className("AutoencoderKL");
        List<Integer> channels = in.integers("block_out_channels", List.of(64), 0);
        int levels = channels.size();
        in.require(levels <= UNetConfig.MAX_LEVELS, "block_out_channels", "at most 8 blocks", channels);
        List<String> down = in.choices("down_block_types", List.of("DownEncoderBlock2D"), "DownEncoderBlock2D");
        List<String> up = in.choices("up_block_types", List.of("UpDecoderBlock2D"), "UpDecoderBlock2D");
        in.require(down.size() == levels, "down_block_types", "as many as block_out_channels (" + levels + ")", down);
        in.require(up.size() == levels, "up_block_types", "as many as block_out_channels (" + levels + ")", up);
        int groups = in.integer("norm_num_groups", 32, 1);
        for (int c : channels) {
            in.require(
                    c % groups == 0, "block_out_channels", "multiples of norm_num_groups (" + groups + ")", channels);
        }
        in.only("act_fn", "silu", "silu", "swish");
        in.only("latents_mean", null, (Object) null);
        in.only("latents_std", null, (Object) null);
        in.only("shift_factor", null, null, 0);
        in.tolerate("sample_size");
        return new VaeConfig(
                in.integer("in_channels", 3, 1),
                in.integer("out_channels", 3, 1),
                in.integer("latent_channels", 4, 1),
                channels,
                in.layers("layers_per_block", 1),
                groups,
                in.flag("use_quant_conv", true),
                in.flag("use_post_quant_conv", true),
                in.flag("mid_block_add_attention", true),
                in.positive("scaling_factor", 0.18215),
                in.flag("force_upcast", true),
                json,
                in.unknown());
    }

    /// Number of pixels along each side of one latent.
    public int scale() {
        return 1 << (blockOutChannels.size() - 1);
    }

    @Override
    public Map<String, List<Long>> parameters() {
        ParameterTable table = new ParameterTable();
        int levels = blockOutChannels.size();
        long first = blockOutChannels.get(0);
        long last = blockOutChannels.get(levels - 1);
        table.conv("encoder.conv_in", first, inChannels, 3);
        long input = first;
        for (int i = 0; i < levels; i++) {
            String block = "encoder.down_blocks." + i;
            long channels = blockOutChannels.get(i);
            for (int j = 0; j < layersPerBlock; j++) {
                table.resnet(block + ".resnets." + j, j == 0 ? input : channels, channels, 0);
            }
            if (i < levels - 1) {
                table.conv(block + ".downsamplers.0.conv", channels, channels, 3);
            }
            input = channels;
        }
        middle(table, "encoder.mid_block", last);
        table.norm("encoder.conv_norm_out", last);
        table.conv("encoder.conv_out", 2L * latentChannels, last, 3);

        table.conv("decoder.conv_in", last, latentChannels, 3);
        input = last;
        for (int i = 0; i < levels; i++) {
            String block = "decoder.up_blocks." + i;
            long channels = blockOutChannels.get(levels - 1 - i);
            for (int j = 0; j <= layersPerBlock; j++) {
                table.resnet(block + ".resnets." + j, j == 0 ? input : channels, channels, 0);
            }
            if (i < levels - 1) {
                table.conv(block + ".upsamplers.0.conv", channels, channels, 3);
            }
            input = channels;
        }
        middle(table, "decoder.mid_block", last);
        table.norm("decoder.conv_norm_out", first);
        table.conv("decoder.conv_out", outChannels, first, 3);
        if (useQuantConv) {
            table.conv("quant_conv", 2L * latentChannels, 2L * latentChannels, 1);
        }
        if (usePostQuantConv) {
            table.conv("post_quant_conv", latentChannels, latentChannels, 1);
        }
        return table.shapes();
    }

    private void middle(ParameterTable table, String name, long channels) {
        if (midBlockAttention) {
            String attention = name + ".attentions.0";
            table.norm(attention + ".group_norm", channels);
            for (String projection : List.of("to_q", "to_k", "to_v", "to_out.0")) {
                table.linear(attention + "." + projection, channels, channels, true);
            }
        }
        table.resnet(name + ".resnets.0", channels, channels, 0);
        table.resnet(name + ".resnets.1", channels, channels, 0);
    }
}
