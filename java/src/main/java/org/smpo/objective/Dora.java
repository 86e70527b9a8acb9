package org.smpo.objective;

/// DoRA reweighting of the pair losses of a whole batch: L = λ log mean_i exp(h_i ℓ_i / λ), with h the density
/// ratio of the target to the training distribution, per pair and computed beforehand.
///
/// The batch must be the global one: in a batch of one pair the logarithm and the exponential cancel. Pair
/// losses also vary with the timestep, so the pairs of a step should share one; otherwise the weights select
/// timesteps, not pairs. Source: arXiv 2504.05831 (language models).
///
/// @param lambda λ > 0; 1 in the paper
public record Dora(double lambda) {
    /// @throws IllegalArgumentException when lambda is not a finite number > 0
    public Dora {
        Require.positive("dora", "lambda", lambda);
    }

    /// The published λ = 1.
    public static Dora published() {
        return new Dora(1);
    }

    /// L for the given pair losses and density ratios.
    ///
    /// @throws IllegalArgumentException when the arrays are empty, differ in length, or hold a non-finite value
    public double value(double[] losses, double[] ratios) {
        double[] exponents = exponents(losses, ratios);
        double largest = largest(exponents);
        double sum = 0;
        for (double exponent : exponents) {
            sum += Math.exp(exponent - largest);
        }
        return lambda * (largest + Math.log(sum / exponents.length));
    }

    /// ∂L/∂ℓ_i = h_i softmax(h ℓ / λ)_i, one per pair. Where a batch's loss is otherwise the mean over its
    /// pairs, each pair's gradient is to be multiplied by this times the number of pairs.
    ///
    /// @throws IllegalArgumentException when the arrays are empty, differ in length, or hold a non-finite value
    public double[] factors(double[] losses, double[] ratios) {
        double[] exponents = exponents(losses, ratios);
        double largest = largest(exponents);
        double[] factors = new double[exponents.length];
        double sum = 0;
        for (int i = 0; i < factors.length; i++) {
            factors[i] = Math.exp(exponents[i] - largest);
            sum += factors[i];
        }
        for (int i = 0; i < factors.length; i++) {
            factors[i] *= ratios[i] / sum;
        }
        return factors;
    }

    /// The weight of each pair, which multiplies its loss and gradient where a batch's loss is the mean over its
    /// pairs: M times [#factors]. The ratios themselves when a loss is not finite, since that pair's loss then
    /// reports it.
    ///
    /// @param losses losses of all M pairs of the global batch
    /// @param ratios density ratio of each
    /// @throws IllegalArgumentException when the arrays are empty, differ in length, or hold a ratio that is not
    ///     finite
    public double[] weights(double[] losses, double[] ratios) {
        for (double loss : losses) {
            if (!Double.isFinite(loss)) {
                return ratios.clone();
            }
        }
        double[] weights = factors(losses, ratios);
        for (int i = 0; i < weights.length; i++) {
            weights[i] *= weights.length;
        }
        return weights;
    }

    private double[] exponents(double[] losses, double[] ratios) {
        if (losses.length == 0 || losses.length != ratios.length) {
            throw new IllegalArgumentException("dora: expected as many ratios as losses and at least one, got "
                    + losses.length + " losses and " + ratios.length + " ratios");
        }
        double[] exponents = new double[losses.length];
        for (int i = 0; i < exponents.length; i++) {
            Require.finite("dora", "loss " + i, losses[i]);
            Require.nonNegative("dora", "ratio " + i, ratios[i]);
            exponents[i] = ratios[i] * losses[i] / lambda;
        }
        return exponents;
    }

    private static double largest(double[] values) {
        double largest = values[0];
        for (double value : values) {
            largest = Math.max(largest, value);
        }
        return largest;
    }
}
