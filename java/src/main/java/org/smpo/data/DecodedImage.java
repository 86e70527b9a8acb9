package org.smpo.data;

import org.smpo.io.RgbImage;

/// A picture as it is trained on, and what SDXL is told about it.
///
/// @param pixels a square of the resolution
/// @param originalWidth of the file's picture, in pixels
/// @param originalHeight of the file's picture, in pixels
/// @param cropTop rows of the resized picture above the square
/// @param cropLeft columns of the resized picture left of the square; of the mirrored one when it is mirrored
/// @param mirrored whether left and right are exchanged
public record DecodedImage(
        RgbImage pixels, int originalWidth, int originalHeight, int cropTop, int cropLeft, boolean mirrored) {}
