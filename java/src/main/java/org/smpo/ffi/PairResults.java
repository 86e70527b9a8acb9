package org.smpo.ffi;

import java.util.stream.IntStream;

/// The results of a batch, one number per pair; NaN for a pair that was not accumulated. Single images count as
/// winners; a batch of them has no losers, and the arrays of losers are empty.
///
/// @param policyWinner Mean squared errors of the policy on the winners
/// @param policyLoser Mean squared errors of the policy on the losers
/// @param referenceWinner Mean squared errors of the reference on the winners; 0 without a reference
/// @param referenceLoser Mean squared errors of the reference on the losers; 0 without a reference
/// @param logit Logits, above 0 where the policy prefers the winner more than the reference does
/// @param loss Losses without weight and gradient scale
/// @param lossSum Sum of gradient scale x weight x loss over all micro-batches
@SuppressWarnings("ArrayRecordComponent") // results of one call, never compared
public record PairResults(
        double[] policyWinner,
        double[] policyLoser,
        double[] referenceWinner,
        double[] referenceLoser,
        double[] logit,
        double[] loss,
        double lossSum) {

    /// Returns KTO's reference point: the mean over all images of the reference's error minus the
    /// policy's, at least 0. It is 0 if a pair's errors are not finite, since that pair's loss then
    /// reports it.
    public double meanGain() {
        return meanGain(gainSum(), images());
    }

    /// Number of images.
    public int images() {
        return policyWinner.length + policyLoser.length;
    }

    /// The sum behind [#meanGain()]: over all images, the reference's error minus the policy's.
    public double gainSum() {
        double sum = 0;
        for (int i = 0; i < loss.length; i++) {
            sum += referenceWinner[i] - policyWinner[i] + (isSingle() ? 0 : referenceLoser[i] - policyLoser[i]);
        }
        return sum;
    }

    /// Returns KTO's reference point for a sum of gains over a number of images; see [#meanGain()].
    public static double meanGain(double gainSum, long images) {
        return Double.isFinite(gainSum) ? Math.max(0, gainSum / images) : 0;
    }

    /// Returns the errors of single images by kind: desirable ones as winners, the others as losers. Logits and losses
    /// keep their order.
    ///
    /// @param desirable whether each image is desirable
    public PairResults byKind(boolean[] desirable) {
        return new PairResults(
                of(policyWinner, desirable, true),
                of(policyWinner, desirable, false),
                of(referenceWinner, desirable, true),
                of(referenceWinner, desirable, false),
                logit,
                loss,
                lossSum);
    }

    private static double[] of(double[] all, boolean[] flags, boolean wanted) {
        return IntStream.range(0, all.length)
                .filter(i -> flags[i] == wanted)
                .mapToDouble(i -> all[i])
                .toArray();
    }

    /// Whether these are results of single images.
    public boolean isSingle() {
        return policyLoser.length == 0;
    }
}
