package org.smpo.objective;

/// Label of a pair: its winner and the winner's probability.
///
/// @param winner 0 or 1
/// @param probability p, the probability that the winner is the better image; below ½ if people and reward
///     disagree and people decide
/// @param flipped whether the winner is not the image that people chose
public record PairLabel(int winner, double probability, boolean flipped) {
    public PairLabel {
        if (winner != 0 && winner != 1) {
            throw new IllegalArgumentException("pair label: winner: expected 0 or 1, got " + winner);
        }
        Require.unit("pair label", "probability", probability);
    }

    /// γ(2p − 1), the factor of SmPO's logit (2α − γ in the paper, α = γp).
    public double strength(double gamma) {
        return gamma * (2 * probability - 1);
    }
}
