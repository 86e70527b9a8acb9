package org.smpo.objective;

/// The four errors of one pair: each the **mean** squared difference between a prediction and the pair's target
/// over the channels and pixels of one latent.
///
/// @param winner ℓ_w, the policy's error on the preferred image
/// @param loser ℓ_l, the policy's error on the other image
/// @param referenceWinner r_w, the frozen reference's error on the preferred image; unused by objectives
///     without reference
/// @param referenceLoser r_l, the reference's error on the other image
record PairErrors(double winner, double loser, double referenceWinner, double referenceLoser) {
    /// @throws IllegalArgumentException when an error is negative, infinite or NaN
    PairErrors {
        Require.nonNegative("pair errors", "winner", winner);
        Require.nonNegative("pair errors", "loser", loser);
        Require.nonNegative("pair errors", "reference winner", referenceWinner);
        Require.nonNegative("pair errors", "reference loser", referenceLoser);
    }

    /// Δ = (ℓ_w − ℓ_l) − (r_w − r_l): negative when the policy favours the winner more than the reference does.
    double difference() {
        return (winner - loser) - (referenceWinner - referenceLoser);
    }

    /// r_w − ℓ_w: how much better than the reference the policy predicts the winner.
    double winnerGain() {
        return referenceWinner - winner;
    }

    /// r_l − ℓ_l: how much better than the reference the policy predicts the loser.
    double loserGain() {
        return referenceLoser - loser;
    }
}
