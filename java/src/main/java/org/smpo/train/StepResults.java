package org.smpo.train;

import org.smpo.ffi.InversionReport;
import org.smpo.ffi.PairResults;

/// The results of one pass over a global batch.
///
/// @param pairs results of each pair
/// @param inversion cost of the inversion; null where nothing was inverted
/// @param noiseSeconds time of the inversion or the forward noise, in seconds
/// @param gradientSeconds time of the forward and backward passes, in seconds
public record StepResults(PairResults pairs, InversionReport inversion, double noiseSeconds, double gradientSeconds) {

    /// The mean over the pairs of the loss that was differentiated, weights included.
    public double loss() {
        return pairs.lossSum();
    }

    /// The share of pairs whose logit is above 0.
    public double implicitAccuracy() {
        double above = 0;
        for (double logit : pairs.logit()) {
            above += logit > 0 ? 1 : 0;
        }
        return above / pairs.logit().length;
    }
}
