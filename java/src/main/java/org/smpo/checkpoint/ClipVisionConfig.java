package org.smpo.checkpoint;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// A CLIP vision tower: transformers' `image_encoder/config.json`, or the `vision_config` of a whole CLIP
/// model.
///
/// @param imageSize Side of the images in pixels
/// @param patchSize Side of a patch in pixels; an image is cut into (imageSize / patchSize)² patches
/// @param channels Number of channels of the images
/// @param hiddenSize Width of the hidden states
/// @param intermediateSize Width inside the multi-layer perceptrons
/// @param attentionHeads Number of attention heads per layer
/// @param layers Number of transformer layers
/// @param activation Activation of the multi-layer perceptrons
/// @param projectionDim Width of the projected image embedding; 0 without a projection (CLIPVisionModel)
/// @param layerNormEps Epsilon of each layer norm
/// @param json Parsed file
/// @param unknownKeys Keys that CLIPVisionConfig does not take
public record ClipVisionConfig(
        int imageSize,
        int patchSize,
        int channels,
        int hiddenSize,
        int intermediateSize,
        int attentionHeads,
        int layers,
        Activation activation,
        int projectionDim,
        double layerNormEps,
        JsonObject json,
        List<String> unknownKeys)
        implements ModelConfig {
    public ClipVisionConfig {
        unknownKeys = List.copyOf(unknownKeys);
    }

    /// Reads a config.
    ///
    /// @param className CLIPVisionModelWithProjection, CLIPVisionModel or CLIPModel (which projects); null takes
    ///     the file's `architectures`, and CLIPVisionModelWithProjection without them
    /// @throws ModelException for a value that we do not support, naming the file, the key, the value and what is
    ///     supported
    /// @throws IOException when the file does not have the structure of a config
    public static ClipVisionConfig parse(JsonObject json, String className) throws IOException {
        String type = ClipTextConfig.architecture(
                json, className, "CLIPVisionModelWithProjection", "CLIPVisionModel", ClipModelConfig.CLASS);
        boolean whole = type.equals(ClipModelConfig.CLASS);
        ConfigReader in = new ConfigReader(ClipModelConfig.section(json, "vision_config", whole));
        int hidden = in.integer("hidden_size", 768, 1);
        int heads = in.integer("num_attention_heads", 12, 1);
        in.require(hidden % heads == 0, "num_attention_heads", "a divisor of hidden_size (" + hidden + ")", heads);
        int image = in.side("image_size", 224);
        int patch = in.side("patch_size", 32);
        in.require(patch > 0 && image >= patch, "patch_size", "at most image_size (" + image + ")", patch);
        int projection = in.integer("projection_dim", ClipModelConfig.PROJECTION, 1);
        if (whole) {
            projection = new ConfigReader(json).optional("projection_dim", ClipModelConfig.PROJECTION, 1);
        }
        in.tolerate(ClipTextConfig.TOLERATED);
        return new ClipVisionConfig(
                image,
                patch,
                in.integer("num_channels", 3, 1),
                hidden,
                in.integer("intermediate_size", 3072, 1),
                heads,
                in.layers("num_hidden_layers", 12),
                Activation.read(in),
                type.equals("CLIPVisionModel") ? 0 : projection,
                in.positive("layer_norm_eps", 1e-5),
                json,
                in.unknown());
    }

    @Override
    public Map<String, List<Long>> parameters() {
        ParameterTable table = new ParameterTable();
        long side = imageSize / patchSize;
        String embeddings = "vision_model.embeddings.";
        table.add(embeddings + "class_embedding", (long) hiddenSize);
        table.add(embeddings + "patch_embedding.weight", (long) hiddenSize, (long) channels, (long) patchSize, (long)
                patchSize);
        table.add(embeddings + "position_embedding.weight", side * side + 1, (long) hiddenSize);
        // The name is transformers' own misspelling.
        table.norm("vision_model.pre_layrnorm", hiddenSize);
        for (int i = 0; i < layers; i++) {
            ClipTextConfig.layer(table, "vision_model.encoder.layers." + i, hiddenSize, intermediateSize);
        }
        table.norm("vision_model.post_layernorm", hiddenSize);
        if (projectionDim > 0) {
            table.linear("visual_projection", projectionDim, hiddenSize, false);
        }
        return table.shapes();
    }
}
