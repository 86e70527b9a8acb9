package org.smpo.network;

/// What SDXL is told about a picture's size (arXiv 2307.01952, section 2.2): how large it was before it was scaled
/// for training, where it was cropped, and how large it is to be. All in pixels.
///
/// The numbers go to the UNet as `time_ids`, one row per picture; the order is that of diffusers'
/// `_get_add_time_ids`.
///
/// @param originalHeight before scaling
/// @param originalWidth before scaling
/// @param cropTop rows cut off at the top
/// @param cropLeft columns cut off at the left
/// @param targetHeight of the picture
/// @param targetWidth of the picture
public record SizeConditioning(
        int originalHeight, int originalWidth, int cropTop, int cropLeft, int targetHeight, int targetWidth) {
    /// The refiner's aesthetic score for the prompt, where nothing else is asked for.
    public static final float AESTHETIC_SCORE = 6.0f;

    /// The refiner's aesthetic score for the negative prompt, where nothing else is asked for.
    public static final float NEGATIVE_AESTHETIC_SCORE = 2.5f;

    /// Checks the sizes; a crop may be negative, as in diffusers.
    ///
    /// @throws IllegalArgumentException when a size is not positive
    public SizeConditioning {
        if (originalHeight < 1 || originalWidth < 1 || targetHeight < 1 || targetWidth < 1) {
            throw new IllegalArgumentException("expected positive sizes, got original " + originalHeight + "x"
                    + originalWidth + " and target " + targetHeight + "x" + targetWidth + " (height x width)");
        }
    }

    /// A picture that was neither scaled nor cropped: what is used where nothing else is asked for.
    public static SizeConditioning of(int height, int width) {
        return new SizeConditioning(height, width, 0, 0, height, width);
    }

    /// The base model's row, [6].
    public float[] timeIds() {
        return new float[] {originalHeight, originalWidth, cropTop, cropLeft, targetHeight, targetWidth};
    }

    /// The refiner's row, [5]: it is told how good the picture should look instead of its target size.
    ///
    /// @param aestheticScore about 1 to 10
    public float[] refinerTimeIds(float aestheticScore) {
        return new float[] {originalHeight, originalWidth, cropTop, cropLeft, aestheticScore};
    }

    /// Checks that a UNet takes rows of this length.
    ///
    /// @param row how many numbers a row has
    /// @param additionTimeEmbedDim the UNet's `addition_time_embed_dim`
    /// @param pooledDim width of the pooled text embedding: the text model's `projection_dim`
    /// @param inFeatures the UNet's `projection_class_embeddings_input_dim`
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
