package org.smpo.checkpoint;

import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// BLIP's vision transformer. It has no config file: everything follows from the shapes of its tensors,
/// since its heads are 64 wide in every published size.
///
/// @param imageSize Side of the images in pixels
/// @param patchSize Side of a patch in pixels
/// @param channels Number of channels of the images
/// @param hiddenSize Width of the hidden states
/// @param intermediateSize Width inside the multi-layer perceptrons
/// @param layers Number of transformer layers
/// @param json Sizes as they were found
public record BlipVisionConfig(
        int imageSize, int patchSize, int channels, int hiddenSize, int intermediateSize, int layers, JsonObject json)
        implements ModelConfig {
    /// Width of an attention head.
    static final int HEAD = 64;

    /// Epsilon of each layer norm.
    public static final double LAYER_NORM_EPS = 1e-6;

    /// Number of attention heads per layer.
    public int attentionHeads() {
        return hiddenSize / HEAD;
    }

    @Override
    public List<String> unknownKeys() {
        return List.of();
    }

    /// The parameters under the names that transformers gives to CLIP's.
    @Override
    public Map<String, List<Long>> parameters() {
        ParameterTable table = new ParameterTable();
        long side = imageSize / patchSize;
        String embeddings = "vision_model.embeddings.";
        table.add(embeddings + "class_embedding", (long) hiddenSize);
        table.conv(embeddings + "patch_embedding", hiddenSize, channels, patchSize);
        table.add(embeddings + "position_embedding.weight", side * side + 1, (long) hiddenSize);
        for (int i = 0; i < layers; i++) {
            ClipTextConfig.layer(table, "vision_model.encoder.layers." + i, hiddenSize, intermediateSize);
        }
        table.norm("vision_model.post_layernorm", hiddenSize);
        return table.shapes();
    }
}
