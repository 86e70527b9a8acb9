package org.smpo.evaluate;

import java.io.IOException;
import java.util.List;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;

/// What looks at a image of a caption and says a number; higher is better. Belongs to the thread that opened it.
///
/// A reward model is one, and so is the demo's checker, which is no reward: it can metric and never be trained on.
public interface Metric extends AutoCloseable {
    /// Which metric it is, and how to open it. What an evaluation holds while it draws: a reward model takes memory.
    interface Source {
        /// A short name, such as `pickscore`: letters, digits, `_` and `-`.
        String name();

        /// Whether it says 1 (right) or 0 (wrong) and nothing else.
        boolean isVerdict();

        /// Checks that it can metric what is going to be drawn.
        ///
        /// @throws IllegalArgumentException saying what it cannot metric
        void requireFits(List<Prompt> prompts, int width, int height);

        /// Opens it.
        ///
        /// @param device `cpu`, `cuda` or `cuda:N`
        /// @param threads CPU threads; 0: one per physical core
        Metric open(String device, int threads) throws IOException;
    }

    /// SHA-256 of what decides a number; the same for equal metrics.
    String digest();

    /// What it does, in words, for a report.
    String describe();

    /// Metrics each image with the caption at its place.
    double[] metric(List<String> captions, List<RgbImage> images);

    @Override
    void close();
}
