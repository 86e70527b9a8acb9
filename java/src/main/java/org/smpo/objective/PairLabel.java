package org.smpo.objective;

/// Label of a pair: its winner, the winner's probability, and how much better the winner scores.
///
/// @param winner 0 or 1
/// @param probability p, the probability that the winner is the better image; below ½ if people and reward
///     disagree and people decide
/// @param flipped whether people chose the other image; a reversed label keeps the answer of the one it comes from
/// @param margin score of the winner minus score of the loser, in the scores' own units; below 0 where the scores
///     prefer the loser; NaN without scores. A reversed label keeps the margin, too.
public record PairLabel(int winner, double probability, boolean flipped, double margin) {
    public PairLabel {
        if (winner != 0 && winner != 1) {
            throw new IllegalArgumentException("pair label: winner: expected 0 or 1, got " + winner);
        }
        Require.unit("pair label", "probability", probability);
    }

    /// Returns the label with winner and loser exchanged. The new winner has the old one's probability, so that a
    /// loss of this label is the loss of the pair with its images exchanged.
    public PairLabel reversed() {
        return new PairLabel(1 - winner, probability, flipped, margin);
    }

    /// γ(2p − 1), the factor of SmPO's logit (2α − γ in the paper, α = γp).
    public double strength(double gamma) {
        return gamma * (2 * probability - 1);
    }
}
