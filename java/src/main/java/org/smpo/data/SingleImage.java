package org.smpo.data;

/// An image and the caption that it was made from.
///
/// @param index index of the image in its source
/// @param id name of the image or of the pair that it belongs to
/// @param caption the prompt; may be empty
/// @param image the image, encoded and not yet checked
/// @param pair number that the caption's random choices depend on
/// @param which number of the image in its pair, 0 or 1; 0 for an image without a pair
public record SingleImage(int index, String id, String caption, EncodedImage image, int pair, int which)
        implements ImageRecord {}
