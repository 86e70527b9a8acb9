package org.smpo.reward;

import java.util.List;
import org.smpo.io.RgbImage;

/// A model that scores pictures of captions. Belongs to the thread that opened it.
public interface Reward extends AutoCloseable {
    /// A short name, such as `pickscore`.
    String name();

    /// SHA-256 of everything that decides a score but [#preprocessing()].
    String digest();

    /// What happens to a picture before the model sees it, and in which precision the model computes, in words.
    /// Scores of equal digest and preprocessing differ by rounding alone.
    String preprocessing();

    /// Scores each picture with the caption at its place.
    ///
    /// @param captions as many as pictures
    /// @param pictures of any size
    /// @return one per picture; higher is better
    /// @throws IllegalArgumentException when the lists differ in length
    double[] score(List<String> captions, List<RgbImage> pictures);

    @Override
    void close();
}
