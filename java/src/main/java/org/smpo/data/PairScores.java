package org.smpo.data;

/// A reward model's scores of a pair's images.
///
/// @param score0 of image 0, finite
/// @param score1 of image 1, finite
public record PairScores(double score0, double score1) {
    /// @throws IllegalArgumentException when one is not finite
    public PairScores {
        if (!Double.isFinite(score0) || !Double.isFinite(score1)) {
            throw new IllegalArgumentException("scores: expected finite numbers, got " + score0 + " and " + score1);
        }
    }
}
