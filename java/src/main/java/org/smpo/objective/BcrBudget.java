package org.smpo.objective;

/// Budget-controlled regularisation, an addition to any pair loss with a reference: the winner may get a
/// little worse than under the reference, and pays beyond that. Adds λ max(0, κβ(ℓ_w − r_w) − δ), κβ that of
/// the pair loss.
///
/// Source: arXiv 2411.05875 (language models), carried over with the log ratio −κβ(ℓ − r). δ = 0 is
/// DPO-Positive, δ = ∞ adds nothing. No published values of λ and δ.
///
/// @param lambda λ ≥ 0
/// @param delta δ ≥ 0 in logit units, may be infinite
public record BcrBudget(double lambda, double delta) {
    /// @throws IllegalArgumentException when a parameter is out of its range
    public BcrBudget {
        Require.nonNegative("bcr", "lambda", lambda);
        if (delta != Double.POSITIVE_INFINITY) {
            Require.nonNegative("bcr", "delta", delta);
        }
    }

    static IllegalArgumentException withoutReference(String found) {
        return new IllegalArgumentException("bcr: objective: expected one with a reference, got " + found);
    }

    /// The pair's loss under `objective` with the budget's term and its gradient added; the logit stays.
    ///
    /// @throws IllegalArgumentException when the objective has no reference
    public PairLoss loss(Objective objective, PairInputs pair) {
        if (!objective.needsReference()) {
            throw withoutReference(objective.name());
        }
        PairLoss loss = objective.loss(pair);
        double strength = objective.strength() * pair.logitScale();
        double overspent = strength * -pair.errors().winnerGain() - delta;
        if (!(overspent > 0)) {
            return loss;
        }
        return new PairLoss(
                loss.value() + lambda * overspent,
                loss.logit(),
                loss.winnerGradient() + lambda * strength,
                loss.loserGradient());
    }
}
