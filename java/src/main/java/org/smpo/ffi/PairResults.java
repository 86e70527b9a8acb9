package org.smpo.ffi;

/// Results of the pairs of a batch, one number for each; NaN for a pair that was not accumulated.
///
/// @param policyWinner mean squared errors of the policy on the winners
/// @param policyLoser mean squared errors of the policy on the losers
/// @param referenceWinner mean squared errors of the reference on the winners; 0 without a reference
/// @param referenceLoser mean squared errors of the reference on the losers; 0 without a reference
/// @param logit above 0 where the policy prefers the winner, more than the reference does
/// @param loss losses without weight and gradient scale
/// @param lossSum sum of gradient scale x weight x loss over all micro-batches
@SuppressWarnings("ArrayRecordComponent") // results of one call, never compared
public record PairResults(
        double[] policyWinner,
        double[] policyLoser,
        double[] referenceWinner,
        double[] referenceLoser,
        double[] logit,
        double[] loss,
        double lossSum) {

    /// The mean over all images of how much better the policy predicts than the reference, at least 0: KTO's
    /// reference point. 0 where a pair's errors are not finite, since its loss then names it.
    public double meanGain() {
        double sum = 0;
        for (int i = 0; i < loss.length; i++) {
            sum += referenceWinner[i] - policyWinner[i] + (referenceLoser[i] - policyLoser[i]);
        }
        return Double.isFinite(sum) ? Math.max(0, sum / (2.0 * loss.length)) : 0;
    }
}
