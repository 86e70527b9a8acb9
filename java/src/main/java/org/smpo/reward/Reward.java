package org.smpo.reward;

import java.util.List;
import java.util.Map;
import org.smpo.io.RgbImage;

/// A loaded reward model: it scores images for captions. Belongs to the thread that opened it.
public interface Reward extends AutoCloseable {
    /// Returns the id of the reward's kind, such as `pickscore`.
    String kind();

    /// Returns the SHA-256 of everything that decides a score except [#preprocessing()].
    String digest();

    /// Returns a description of the image preprocessing and of the precision of the model. Scores of equal
    /// digest and preprocessing differ by rounding alone.
    String preprocessing();

    /// Returns further facts about the model for the metadata of a score file, by name.
    default Map<String, String> metadata() {
        return Map.of();
    }

    /// Scores each image for the caption at the same position.
    ///
    /// @param captions captions, as many as images
    /// @param images images of any size
    /// @return one score per image; higher is better
    /// @throws IllegalArgumentException when the lists differ in length
    /// @throws ArithmeticException when an image or a caption has no finite score
    double[] score(List<String> captions, List<RgbImage> images);

    @Override
    void close();
}
