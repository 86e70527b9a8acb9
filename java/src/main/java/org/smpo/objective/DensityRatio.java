package org.smpo.objective;

import java.util.List;

/// The density of a target domain relative to that of the training data, which is a mixture of the
/// target and other sources, from classifiers of the target against each source:
///
/// ```text
/// h(x) = 1 / (α + Σ_i β_i (1 − p_i(x)) / p_i(x))        p_i = P(target | x), classes of equal weight
/// ```
///
/// With exact probabilities its mean over the training data is 1, and it is at most 1/α. Source: DoRA,
/// arXiv 2504.05831.
///
/// @param alpha share of the target in the training data, 0 or more
/// @param betas share of each source
/// @param largest upper bound of the result, for a target that is not trained on; infinite for none
public record DensityRatio(double alpha, List<Double> betas, double largest) {
    private static final String OWNER = "density ratio";
    /// Probabilities are kept this far from 0 and 1, where a classifier is no longer to be trusted.
    private static final double MARGIN = 0.02;

    /// @throws InvalidParameterException when a share is out of its range, or all shares are 0
    public DensityRatio {
        Require.unit(OWNER, "alpha", alpha);
        for (double beta : betas) {
            Require.unit(OWNER, "beta", beta);
        }
        if (!(alpha + betas.stream().mapToDouble(Double::doubleValue).sum() > 0)) {
            throw Require.outside(OWNER, "alpha", "shares that are not all 0", alpha);
        }
        if (!(largest > 0)) {
            throw Require.outside(OWNER, "largest", "a number > 0", largest);
        }
        betas = List.copyOf(betas);
    }

    /// Returns h of an image.
    ///
    /// @param probabilities p_i of each source
    /// @throws IllegalArgumentException when their number is wrong, or one is not within 0 to 1
    public double of(double... probabilities) {
        if (probabilities.length != betas.size()) {
            throw new IllegalArgumentException(
                    "density ratio: expected " + betas.size() + " probabilities, got " + probabilities.length);
        }
        double sum = alpha;
        for (int source = 0; source < probabilities.length; source++) {
            Require.unit(OWNER, "probability", probabilities[source]);
            double p = Math.clamp(probabilities[source], MARGIN, 1 - MARGIN);
            sum += betas.get(source) * (1 - p) / p;
        }
        return Math.min(largest, 1 / sum);
    }

    /// Whether a probability is so near 0 or 1 that [#of] does not take it as it is.
    public static boolean isBeyondBounds(double probability) {
        return probability < MARGIN || probability > 1 - MARGIN;
    }

    /// Returns (Σw)² / Σw², the number of equal weights that estimate a mean as well as these do; 0
    /// when all are 0.
    public static double effectiveSize(double[] weights) {
        double sum = 0;
        double squares = 0;
        for (double weight : weights) {
            sum += weight;
            squares += weight * weight;
        }
        return squares > 0 ? sum * sum / squares : 0;
    }
}
