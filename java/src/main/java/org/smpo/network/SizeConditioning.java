package org.smpo.network;

/// SDXL's conditioning on image size (arXiv 2307.01952, section 2.2): the size before scaling for training, the place
/// of the crop, and the target size. All in pixels.
///
/// The numbers go to the UNet as `time_ids`, one row per image; the order is that of diffusers'
/// `_get_add_time_ids`.
///
/// @param originalHeight Height before scaling
/// @param originalWidth Width before scaling
/// @param cropTop Number of rows cut off at the top
/// @param cropLeft Number of columns cut off at the left
/// @param targetHeight Height of the image
/// @param targetWidth Width of the image
public record SizeConditioning(
        int originalHeight, int originalWidth, int cropTop, int cropLeft, int targetHeight, int targetWidth) {
    /// Checks the sizes; a crop may be negative, as in diffusers.
    ///
    /// @throws IllegalArgumentException when a size is not positive
    public SizeConditioning {
        if (originalHeight < 1 || originalWidth < 1 || targetHeight < 1 || targetWidth < 1) {
            throw new IllegalArgumentException("expected positive sizes, got original " + originalHeight + "x"
                    + originalWidth + " and target " + targetHeight + "x" + targetWidth + " (height x width)");
        }
    }

    /// The default: an image that was neither scaled nor cropped.
    public static SizeConditioning of(int height, int width) {
        return new SizeConditioning(height, width, 0, 0, height, width);
    }

    /// The base model's row, [6].
    public float[] timeIds() {
        return new float[] {originalHeight, originalWidth, cropTop, cropLeft, targetHeight, targetWidth};
    }

    /// Checks that a UNet takes rows of this length.
    ///
    /// @param row Number of elements of a row
    /// @param additionTimeEmbedDim `addition_time_embed_dim` of the UNet
    /// @param pooledDim Width of the pooled text embedding: the text model's `projection_dim`
    /// @param inFeatures `projection_class_embeddings_input_dim` of the UNet
    /// @throws IllegalArgumentException when they do not add up, saying what does
    public static void requireFits(int row, int additionTimeEmbedDim, int pooledDim, int inFeatures) {
        int given = row * additionTimeEmbedDim + pooledDim;
        if (given != inFeatures) {
            throw new IllegalArgumentException("projection_class_embeddings_input_dim: expected " + given + " (" + row
                    + " time ids of " + additionTimeEmbedDim + " and a pooled embedding of " + pooledDim + "), found "
                    + inFeatures + (inFeatures == given - additionTimeEmbedDim ? ": is this the refiner?" : "")
                    + (inFeatures == given + additionTimeEmbedDim ? ": is this the base model?" : ""));
        }
    }
}
