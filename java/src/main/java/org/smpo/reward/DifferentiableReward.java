package org.smpo.reward;

import java.util.List;
import org.smpo.ffi.DeviceTensor;

/// A reward whose scores have gradients with respect to the pixels of the images: PickScore, HPSv2, the
/// aesthetic predictor, and other CLIP models.
///
/// Images are preprocessed in float, and nothing is rounded to 8 bits, so that these scores differ a little
/// from those of [#score].
public interface DifferentiableReward extends Reward {
    /// Scores images and differentiates each score by the pixels of its image.
    ///
    /// @param captions captions, as many as images
    /// @param pixels images `[B,3,H,W]` in [-1, 1]; values beyond are clamped and have no gradient
    /// @throws IllegalArgumentException when the number of captions is another
    PixelGradient scorePixels(List<String> captions, DeviceTensor pixels);

    /// Scores and their gradients.
    ///
    /// @param scores score of each image
    /// @param gradient gradient of the sum of all scores with respect to the pixels, `[B,3,H,W]`: each image
    ///     decides its own score alone
    @SuppressWarnings("ArrayRecordComponent") // a result, never compared
    record PixelGradient(double[] scores, DeviceTensor gradient) implements AutoCloseable {
        @Override
        public void close() {
            gradient.close();
        }
    }

    /// Checks that there are as many captions as images.
    static void check(List<String> captions, DeviceTensor pixels) {
        if (pixels.shape().length != 4 || pixels.shape()[0] != captions.size()) {
            throw new IllegalArgumentException("scorePixels: expected " + captions.size()
                    + " images [B,3,H,W], as many as captions, got " + java.util.Arrays.toString(pixels.shape()));
        }
    }
}
