package org.smpo.train;

import org.smpo.ffi.InversionReport;
import org.smpo.ffi.PairResults;

/// What a pass over a batch came to.
///
/// @param pairs the results of each pair
/// @param inversion what the inversion took; null where nothing was inverted
/// @param noiseSeconds of the phase that makes noised latents and targets: inversion, or forward noise
/// @param gradientSeconds of the phase of forwards and backwards
public record StepResults(PairResults pairs, InversionReport inversion, double noiseSeconds, double gradientSeconds) {

    /// Mean loss, over pairs of the batch, of the loss that was differentiated (weights included).
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
