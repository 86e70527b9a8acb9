package org.smpo.ffi;

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
        double layerNormEps)
        implements ClipTowerSpec {

    /// The activation may not be null.
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
