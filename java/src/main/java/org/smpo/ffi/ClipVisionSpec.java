package org.smpo.ffi;

/// The architecture of CLIP's vision tower, with the names that transformers uses. The library checks
/// the values when the model is opened.
///
/// @param imageSize Side length of the images, in pixels
/// @param patchSize Side length of the patches, in pixels
/// @param channels Number of image channels
/// @param hiddenSize Width of the hidden states
/// @param intermediateSize Width inside each MLP
/// @param attentionHeads Number of attention heads
/// @param layers Number of layers
/// @param activation Activation function of each MLP
/// @param projectionDim Width of the projected output; 0: no projection
/// @param layerNormEps Epsilon of each layer norm
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
        double layerNormEps)
        implements ClipTowerSpec {

    /// Checks that the activation is not null.
    public ClipVisionSpec {
        ClipTowerSpec.check(activation);
    }

    void write(Struct spec) {
        writeTower(spec);
        spec.set("image_size", imageSize);
        spec.set("patch_size", patchSize);
        spec.set("channels", channels);
    }
}
