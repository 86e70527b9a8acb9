package org.smpo.ffi;

/// The kind of a [NativeModel]. Values match the header.
public enum ModelKind {
    /// `UNet2DConditionModel`.
    UNET(1),
    /// `AutoencoderKL`.
    VAE(2),
    /// `CLIPTextModel`, with or without projection.
    CLIP_TEXT(3),
    /// `CLIPVisionModelWithProjection`.
    CLIP_VISION(4),
    /// BERT with cross-attention to the states of an image.
    BERT(5);

    private final int code;

    ModelKind(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }

    static ModelKind of(int code) {
        for (ModelKind kind : values()) {
            if (kind.code == code) {
                return kind;
            }
        }
        throw new AssertionError("unknown kind of model " + code + " from the native library");
    }
}
