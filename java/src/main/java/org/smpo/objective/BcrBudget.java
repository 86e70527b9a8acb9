package org.smpo.objective;

/// Budget-controlled regularisation, an addition to any pair loss with a reference: the favoured image may
/// become a little worse than under the reference, and costs beyond that. Adds λ max(0, κβ(ℓ − r) − δ), κβ that
/// of the pair loss.
///
/// Source: arXiv 2411.05875 (language models), carried over with the log ratio −κβ(ℓ − r). δ = 0 is
/// DPO-Positive, δ = ∞ adds nothing. No values of λ and δ are published.
///
/// @param lambda λ ≥ 0
/// @param delta δ ≥ 0 in logit units, may be infinite
public record BcrBudget(double lambda, double delta) {
    /// @throws InvalidParameterException when a parameter is out of its range
    public BcrBudget {
        Require.nonNegative("bcr", "lambda", lambda);
        if (delta != Double.POSITIVE_INFINITY) {
            Require.nonNegative("bcr", "delta", delta);
        }
    }
}
