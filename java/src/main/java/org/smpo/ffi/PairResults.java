package org.smpo.ffi;

/// What a batch's pairs came to, one number for each; NaN for a pair that was not accumulated.
///
/// @param policyWinner mean squared errors, as are the next three
/// @param logit above 0 where the policy prefers the winner, more than the reference does
/// @param loss without weight and gradient scale
/// @param lossSum sum of gradient scale x weight x loss over all micro-batches
@SuppressWarnings("ArrayRecordComponent") // what one call gave, never compared
public record PairResults(
        double[] policyWinner,
        double[] policyLoser,
        double[] referenceWinner,
        double[] referenceLoser,
        double[] logit,
        double[] loss,
        double lossSum) {}
