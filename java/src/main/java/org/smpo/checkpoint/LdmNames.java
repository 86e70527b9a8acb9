package org.smpo.checkpoint;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The module names of one network in CompVis' and Stability's code, and the corresponding names in
/// diffusers.
///
/// The numbers of blocks follow from the config: in the original code, blocks are numbered across all
/// levels. Names are translated by their longest known prefix, so that parameters (`....conv1.weight`)
/// and modules (`....conv1`) both work.
final class LdmNames {
    private static final Map<String, String> RESNET = Map.of(
            "norm1", "in_layers.0",
            "conv1", "in_layers.2",
            "time_emb_proj", "emb_layers.1",
            "norm2", "out_layers.0",
            "conv2", "out_layers.3",
            "conv_shortcut", "skip_connection");

    private final Map<String, String> toLdm = new LinkedHashMap<>();
    private final Map<String, String> toDiffusers = new LinkedHashMap<>();

    private LdmNames() {}

    static LdmNames unet(UNetConfig config) {
        LdmNames names = new LdmNames();
        names.put("time_embedding.linear_1", "time_embed.0");
        names.put("time_embedding.linear_2", "time_embed.2");
        if (config.additionEmbed()) {
            names.put("add_embedding.linear_1", "label_emb.0.0");
            names.put("add_embedding.linear_2", "label_emb.0.2");
        }
        names.put("conv_in", "input_blocks.0.0");
        names.put("conv_norm_out", "out.0");
        names.put("conv_out", "out.2");
        int levels = config.levels();
        int input = 1;
        for (int i = 0; i < levels; i++) {
            for (int j = 0; j < config.layersPerBlock().get(i); j++) {
                names.resnet("down_blocks." + i + ".resnets." + j, "input_blocks." + input + ".0");
                if (config.downAttention().get(i)) {
                    names.put("down_blocks." + i + ".attentions." + j, "input_blocks." + input + ".1");
                }
                input++;
            }
            if (i < levels - 1) {
                names.put("down_blocks." + i + ".downsamplers.0.conv", "input_blocks." + input + ".0.op");
                input++;
            }
        }
        names.resnet("mid_block.resnets.0", "middle_block.0");
        names.put("mid_block.attentions.0", "middle_block.1");
        names.resnet("mid_block.resnets.1", "middle_block.2");
        int output = 0;
        for (int i = 0; i < levels; i++) {
            int layers = config.layersPerBlock().get(levels - 1 - i) + 1;
            boolean attention = config.upAttention().get(i);
            for (int j = 0; j < layers; j++) {
                names.resnet("up_blocks." + i + ".resnets." + j, "output_blocks." + output + ".0");
                if (attention) {
                    names.put("up_blocks." + i + ".attentions." + j, "output_blocks." + output + ".1");
                }
                if (j == layers - 1 && i < levels - 1) {
                    names.put(
                            "up_blocks." + i + ".upsamplers.0.conv",
                            "output_blocks." + output + "." + (attention ? 2 : 1) + ".conv");
                }
                output++;
            }
        }
        return names;
    }

    static LdmNames vae(VaeConfig config) {
        LdmNames names = new LdmNames();
        int levels = config.blockOutChannels().size();
        for (String side : List.of("encoder", "decoder")) {
            names.put(side + ".conv_in", side + ".conv_in");
            names.put(side + ".conv_norm_out", side + ".norm_out");
            names.put(side + ".conv_out", side + ".conv_out");
            names.vaeResnet(side + ".mid_block.resnets.0", side + ".mid.block_1");
            names.vaeResnet(side + ".mid_block.resnets.1", side + ".mid.block_2");
            String attention = side + ".mid_block.attentions.0.";
            names.put(attention + "group_norm", side + ".mid.attn_1.norm");
            names.put(attention + "to_q", side + ".mid.attn_1.q");
            names.put(attention + "to_k", side + ".mid.attn_1.k");
            names.put(attention + "to_v", side + ".mid.attn_1.v");
            names.put(attention + "to_out.0", side + ".mid.attn_1.proj_out");
        }
        for (int i = 0; i < levels; i++) {
            for (int j = 0; j <= config.layersPerBlock(); j++) {
                names.vaeResnet("encoder.down_blocks." + i + ".resnets." + j, "encoder.down." + i + ".block." + j);
                names.vaeResnet(
                        "decoder.up_blocks." + i + ".resnets." + j, "decoder.up." + (levels - 1 - i) + ".block." + j);
            }
            names.put("encoder.down_blocks." + i + ".downsamplers.0.conv", "encoder.down." + i + ".downsample.conv");
            names.put(
                    "decoder.up_blocks." + i + ".upsamplers.0.conv",
                    "decoder.up." + (levels - 1 - i) + ".upsample.conv");
        }
        names.put("quant_conv", "quant_conv");
        names.put("post_quant_conv", "post_quant_conv");
        return names;
    }

    /// OpenCLIP's text tower, as far as names go one to one; `self_attn`'s three input projections are
    /// one there.
    static LdmNames openClip(ClipTextConfig config) {
        LdmNames names = new LdmNames();
        names.put("text_model.embeddings.token_embedding", "token_embedding");
        names.put("text_model.embeddings.position_embedding.weight", "positional_embedding");
        names.put("text_model.final_layer_norm", "ln_final");
        names.put("text_projection.weight", "text_projection");
        names.openClipLayers("text_model", config.layers());
        return names;
    }

    /// OpenCLIP's vision tower, likewise.
    static LdmNames openClipVision(ClipVisionConfig config) {
        LdmNames names = new LdmNames();
        names.put("vision_model.embeddings.class_embedding", "class_embedding");
        names.put("vision_model.embeddings.patch_embedding", "conv1");
        names.put("vision_model.embeddings.position_embedding.weight", "positional_embedding");
        names.put("vision_model.pre_layrnorm", "ln_pre");
        names.put("vision_model.post_layernorm", "ln_post");
        names.put("visual_projection.weight", "proj");
        names.openClipLayers("vision_model", config.layers());
        return names;
    }

    /// BLIP's vision transformer, which has timm's names, likewise.
    static LdmNames blipVision(BlipVisionConfig config) {
        LdmNames names = new LdmNames();
        names.put("vision_model.embeddings.class_embedding", "cls_token");
        names.put("vision_model.embeddings.patch_embedding", "patch_embed.proj");
        names.put("vision_model.embeddings.position_embedding.weight", "pos_embed");
        names.put("vision_model.post_layernorm", "norm");
        for (int i = 0; i < config.layers(); i++) {
            String theirs = "blocks." + i;
            String ours = "vision_model.encoder.layers." + i;
            names.put(ours + ".layer_norm1", theirs + ".norm1");
            names.put(ours + ".layer_norm2", theirs + ".norm2");
            names.put(ours + ".self_attn.out_proj", theirs + ".attn.proj");
            names.put(ours + ".mlp", theirs + ".mlp");
        }
        return names;
    }

    private void openClipLayers(String tower, int layers) {
        for (int i = 0; i < layers; i++) {
            String theirs = OpenClip.BLOCKS + i;
            String ours = tower + ".encoder.layers." + i;
            put(ours + ".layer_norm1", theirs + ".ln_1");
            put(ours + ".layer_norm2", theirs + ".ln_2");
            put(ours + ".self_attn.out_proj", theirs + ".attn.out_proj");
            put(ours + ".mlp.fc1", theirs + ".mlp.c_fc");
            put(ours + ".mlp.fc2", theirs + ".mlp.c_proj");
        }
    }

    private void resnet(String ours, String theirs) {
        RESNET.forEach((mine, yours) -> put(ours + "." + mine, theirs + "." + yours));
    }

    private void vaeResnet(String ours, String theirs) {
        put(ours + ".conv_shortcut", theirs + ".nin_shortcut");
        put(ours, theirs);
    }

    private void put(String ours, String theirs) {
        toLdm.put(ours, theirs);
        toDiffusers.put(theirs, ours);
    }

    Map<String, String> modules() {
        return Collections.unmodifiableMap(toLdm);
    }

    /// The name there; empty for one that this network does not have.
    Optional<String> toLdm(String name) {
        return translate(toLdm, name);
    }

    /// Removes this network's tensors from `file` and returns them under diffusers' names.
    ///
    /// @param prefix Beginning of the network's names in the file
    List<Weight> take(ModelConfig config, String prefix, Map<String, Weight> file) {
        List<Weight> weights = new ArrayList<>();
        for (String parameter : config.parameters().keySet()) {
            Weight weight = toLdm(parameter).map(n -> file.remove(prefix + n)).orElse(null);
            if (weight != null) {
                weights.add(weight.named(parameter));
            }
        }
        return weights;
    }

    /// diffusers' name; empty for one that this network does not have.
    Optional<String> toDiffusers(String name) {
        return translate(toDiffusers, name);
    }

    private static Optional<String> translate(Map<String, String> table, String name) {
        for (int end = name.length(); end > 0; end = name.lastIndexOf('.', end - 1)) {
            String translated = table.get(name.substring(0, end));
            if (translated != null) {
                return Optional.of(translated + name.substring(end));
            }
        }
        return Optional.empty();
    }
}
