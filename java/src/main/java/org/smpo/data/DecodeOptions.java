package org.smpo.data;

/// How images become training pixels, in the order of torchvision's transforms: the shorter side is resized
/// (bilinear), a square is cropped, the square is mirrored.
///
/// @param resolution side of the square in pixels
/// @param crop which square is cropped
/// @param flip whether an image is mirrored with probability ½
/// @param shared whether both images of a pair get the same crop and flip; published methods choose for each
///     alone
/// @param captionDropout probability that a pair's caption is replaced by the empty one, in `[0, 1]`
/// @param threads number of images decoded at the same time; the result does not depend on it
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
}
