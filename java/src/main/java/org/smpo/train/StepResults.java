package org.smpo.train;

import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import org.smpo.ffi.InversionReport;
import org.smpo.ffi.PairResults;
import org.smpo.objective.DensityRatio;

/// The results of one pass over a global batch.
///
/// @param pairs results of each pair
/// @param label the number that the objective reads of each pair; null if it reads none
/// @param logitScale factor of each pair's logit
/// @param desirable whether each single image is desirable; null for pairs, and where the objective does not ask
/// @param weight weight of each pair; null if all are 1
/// @param weightedLoss what was differentiated where pairs have weights: the mean of weight times loss, or DoRA's
///     loss; empty where they have none
/// @param inversion cost of the inversion; null where nothing was inverted
/// @param noiseSeconds time of the inversion or the forward noise, in seconds
/// @param gradientSeconds time of the forward and backward passes, in seconds
@SuppressWarnings("ArrayRecordComponent") // results of one call, never compared
public record StepResults(
        PairResults pairs,
        double[] label,
        double[] logitScale,
        boolean[] desirable,
        double[] weight,
        OptionalDouble weightedLoss,
        InversionReport inversion,
        double noiseSeconds,
        double gradientSeconds) {
    /// The mean of the pairs' losses, without weights.
    public double loss() {
        return weight == null
                ? pairs.lossSum()
                : Arrays.stream(pairs.loss()).average().orElseThrow();
    }

    /// The number of pairs of equal weight that would say as much as these; empty when pairs have no weights.
    public OptionalDouble effectivePairs() {
        return weight == null ? OptionalDouble.empty() : OptionalDouble.of(DensityRatio.effectiveSize(weight));
    }

    /// Throws if the loss of a pair is not finite.
    ///
    /// @param ids names of the pairs
    /// @param timesteps timesteps of the images; a pair is named with its winner's
    /// @throws NonFiniteStepException naming the pairs and their timesteps
    void requireFinite(List<String> ids, int[] timesteps) {
        List<String> offending = IntStream.range(0, pairs.loss().length)
                .filter(pair -> !Double.isFinite(pairs.loss()[pair]))
                .mapToObj(pair -> ids.get(pair) + " (t = " + timesteps[pair] + ")")
                .toList();
        if (!offending.isEmpty()) {
            throw new NonFiniteStepException("the loss is not finite for " + String.join(", ", offending));
        }
    }

    /// The share of pairs whose logit is above 0; of single images, the share of desirable ones that the policy has
    /// gained on and of undesirable ones that it has lost on.
    public double implicitAccuracy() {
        double right = 0;
        for (int i = 0; i < pairs.logit().length; i++) {
            right += isRight(i) ? 1 : 0;
        }
        return right / pairs.logit().length;
    }

    /// Whether the policy's preference for a pair or an image is the data's.
    boolean isRight(int index) {
        double logit = pairs.logit()[index];
        return desirable == null || desirable[index] ? logit > 0 : logit < 0;
    }
}
