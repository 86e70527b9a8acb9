package org.smpo.ffi;

import java.util.Objects;

/// The architecture of CLIP's vision tower, by transformers' names. Values are checked by the library when the model
/// is opened.
///
/// @param imageSize side of the pictures
/// @param patchSize side of the patches
/// @param channels of the pictures
/// @param hiddenSize width
/// @param intermediateSize width inside each MLP
/// @param attentionHeads number of heads
/// @param layers number of layers
/// @param activation of each MLP
/// @param projectionDim of the output; 0: no projection
/// @param layerNormEps of each layer norm
public record ClipVisionSpec(
        int imageSize,
        int patchSize,
        int channels,
        int hiddenSize,
        int intermediateSize,
        int attentionHeads,
        int layers,
        ClipActivation activation,
        int projectionDim,
        double layerNormEps) {

    /// The activation may not be null.
    public ClipVisionSpec {
        Objects.requireNonNull(activation, "activation");
    }

    void write(Struct spec) {
        spec.set("image_size", imageSize);
        spec.set("patch_size", patchSize);
        spec.set("channels", channels);
        spec.set("hidden_size", hiddenSize);
        spec.set("intermediate_size", intermediateSize);
        spec.set("attention_heads", attentionHeads);
        spec.set("layers", layers);
        spec.set("activation", activation.code());
        spec.set("projection_dim", projectionDim);
        spec.set("layer_norm_eps", layerNormEps);
    }
}
