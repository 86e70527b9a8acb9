package org.smpo.generate;

import org.smpo.io.RgbImage;

/// An image and the latents that it was decoded from.
public final class GeneratedImage {
    private final RgbImage image;
    private final float[] latents;

    GeneratedImage(RgbImage image, float[] latents) {
        this.image = image;
        this.latents = latents;
    }

    /// The image.
    public RgbImage image() {
        return image;
    }

    /// A copy of the sampler's last latents, `[4,h,w]` row-major, as the UNet works on them.
    public float[] latents() {
        return latents.clone();
    }
}
