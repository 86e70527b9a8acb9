package org.smpo.data;

/// How pictures become training pixels, in the order of torchvision's transforms: the shorter side is resized
/// (bilinear), a square is cropped, the square is mirrored.
///
/// @param resolution the square's side in pixels
/// @param crop which square
/// @param flip whether a picture is mirrored with probability ½
/// @param shared whether both images of a pair are cropped and mirrored alike; published methods draw for each alone
/// @param captionDropout probability that a pair's caption is replaced by the empty one, in `[0, 1]`
/// @param threads how many images are decoded at a time; the result does not depend on it
public record DecodeOptions(
        int resolution, Crop crop, boolean flip, boolean shared, double captionDropout, int threads) {
    private static final int MAX_RESOLUTION = 8192;

    /// @throws IllegalArgumentException when a number is out of its range
    public DecodeOptions {
        if (resolution < 1 || resolution > MAX_RESOLUTION) {
            throw new IllegalArgumentException(
                    "decode: resolution: expected 1 to " + MAX_RESOLUTION + " pixels, got " + resolution);
        }
        if (!(captionDropout >= 0 && captionDropout <= 1)) {
            throw new IllegalArgumentException(
                    "decode: caption dropout: expected a probability from 0 to 1, got " + captionDropout);
        }
        if (threads < 1) {
            throw new IllegalArgumentException("decode: threads: expected 1 or more, got " + threads);
        }
    }

    /// The published data path: centre crop, random flip, each image alone, 20 % of captions dropped.
    ///
    /// @param resolution the square's side in pixels
    public static DecodeOptions published(int resolution) {
        return new DecodeOptions(
                resolution, Crop.CENTRE, true, false, 0.2, Runtime.getRuntime().availableProcessors());
    }
}
