package org.smpo.data;

import org.smpo.io.ImageException;
import org.smpo.io.Images;
import org.smpo.io.Resample;
import org.smpo.io.RgbImage;

/// How an image becomes the square that is trained on: the shorter side is resized (bilinear), a square is
/// cropped, and the square is mirrored. SDXL is conditioned on these numbers.
///
/// @param originalWidth width of the original image in pixels
/// @param originalHeight height of the original image in pixels
/// @param resolution side of the square in pixels
/// @param cropTop rows of the resized image above the square
/// @param cropLeft columns of the resized image left of the square; those of the mirrored image when it is
///     mirrored
/// @param mirrored whether left and right are exchanged
public record ImagePlacement(
        int originalWidth, int originalHeight, int resolution, int cropTop, int cropLeft, boolean mirrored) {
    /// Version of everything between an image's encoded bytes and its pixels: decoder, resampling, rounding.
    /// A change that can alter a pixel increases it.
    private static final int PIPELINE = 1;

    /// Length of a side of an image after its shorter side was resized; the longer side is rounded down.
    ///
    /// @param length length of the side in pixels
    /// @param other length of the other side
    /// @param shorter new length of the shorter side
    static int resized(int length, int other, int shorter) {
        return length <= other ? shorter : Math.toIntExact((long) shorter * length / other);
    }

    /// Decodes an image and cuts out its square.
    ///
    /// @throws ImageException when it is not an image, is truncated, contradicts itself or is too large
    RgbImage pixels(EncodedImage encoded) throws ImageException {
        RgbImage resized = Resample.shorterSide(encoded.decode(), resolution, Resample.Filter.BILINEAR);
        int left = mirrored ? resized.width() - resolution - cropLeft : cropLeft;
        RgbImage square = resized.crop(left, cropTop, resolution, resolution);
        return mirrored ? square.mirrored() : square;
    }

    /// Versions of pipeline and decoder, and position of the square.
    String key() {
        return "pipeline " + PIPELINE + ", decoder " + Images.VERSION + ", " + resolution + " px, crop at " + cropLeft
                + "," + cropTop + (mirrored ? ", mirrored" : "");
    }
}
