package org.smpo.ffi;

/// The architecture of CLIP's vision tower, with the names that transformers uses, or of BLIP's vision
/// transformer. The library checks the values when the model is opened.
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
/// @param patchBias Whether the convolution that embeds patches has a bias: BLIP
/// @param preNorm Whether a norm comes before the first layer: CLIP
/// @param allTokens Whether the output has all tokens instead of the class token: BLIP
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
        double layerNormEps,
        boolean patchBias,
        boolean preNorm,
        boolean allTokens)
        implements ClipTowerSpec {

    /// Checks that the activation is not null.
    public ClipVisionSpec {
        ClipTowerSpec.check(activation);
    }

    /// CLIP's vision tower.
    public ClipVisionSpec(
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
        this(
                imageSize,
                patchSize,
                channels,
                hiddenSize,
                intermediateSize,
                attentionHeads,
                layers,
                activation,
                projectionDim,
                layerNormEps,
                false,
                true,
                false);
    }

    void write(Struct spec) {
        writeTower(spec);
        spec.set("image_size", imageSize);
        spec.set("patch_size", patchSize);
        spec.set("channels", channels);
        spec.set("patch_bias", patchBias ? 1 : 0);
        spec.set("pre_norm", preNorm ? 1 : 0);
        spec.set("all_tokens", allTokens ? 1 : 0);
    }
}
