package org.smpo.evaluate;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.reward.RewardKind;

/// A scorer of images: one number per image and caption; higher is better. Belongs to the thread that
/// opened it.
///
/// Rewards are metrics. So is the demo's checker, which is not a reward: it is never trained on.
public interface Metric extends AutoCloseable {
    /// A metric that is not loaded: an evaluation holds it while it generates, since a reward model takes
    /// memory.
    interface Source {
        /// Returns a short name, such as `pickscore`: letters, digits, `_` and `-`.
        String name();

        /// Returns whether the metric gives 1 (right) or 0 (wrong) and nothing else.
        boolean isVerdict();

        /// Returns the kind of the reward that the metric is; empty for a metric that is no reward.
        Optional<RewardKind> rewardKind();

        /// Checks that the metric can score the images that are about to be generated.
        ///
        /// @throws IllegalArgumentException naming what it cannot score
        void requireFits(List<Prompt> prompts, int width, int height);

        /// Returns the SHA-256 of everything that decides a score, without loading the metric.
        ///
        /// @throws IOException when the metric's files cannot be read
        String digest() throws IOException;

        /// Returns what the metric measures, as a phrase for a report, without loading the metric.
        ///
        /// @throws IOException when the metric's files cannot be read
        String describe() throws IOException;

        /// Loads the metric.
        ///
        /// @param device `cpu`, `cuda` or `cuda:N`
        /// @param threads number of CPU threads; 0: one per physical core
        /// @throws IOException when the metric's files cannot be read
        Metric open(String device, int threads) throws IOException;
    }

    /// Scores each image for the caption at the same position.
    double[] score(List<String> captions, List<RgbImage> images);

    @Override
    void close();
}
