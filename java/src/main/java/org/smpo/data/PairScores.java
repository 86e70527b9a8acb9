package org.smpo.data;

/// Scores that a reward model gives to the images of a pair.
///
/// @param score0 score of image 0, finite
/// @param score1 score of image 1, finite
public record PairScores(double score0, double score1) {
    /// @throws IllegalArgumentException when one is not finite
    public PairScores {
        if (!Double.isFinite(score0) || !Double.isFinite(score1)) {
            throw new IllegalArgumentException("scores: expected finite numbers, got " + score0 + " and " + score1);
        }
    }

    /// The score of an image minus the score of the other one.
    ///
    /// @param image 0 or 1
    public double margin(int image) {
        return image == 0 ? score0 - score1 : score1 - score0;
    }
}
