package org.smpo.objective;

import java.util.Optional;

/// The loss that a step differentiates: an objective and the two additions that any objective may carry. Both
/// protect the image that the objective favours.
///
/// @param objective the loss of a pair
/// @param budget a limit to how much worse the favoured image may become; one that can add nothing (λ = 0 or δ
///     = ∞) is left out
/// @param safeguard a bound on the other image's gradient
public record PairLoss(Objective objective, Optional<BcrBudget> budget, Optional<SdpoSafeguard> safeguard) {

    /// @throws InvalidParameterException when there is a budget and the objective has no reference
    public PairLoss {
        if (budget.isPresent() && !objective.needsReference()) {
            throw new InvalidParameterException(
                    "bcr", "objective", "expected one with a reference, got " + objective.name());
        }
        budget = budget.filter(b -> b.lambda() > 0 && b.delta() < Double.POSITIVE_INFINITY);
    }

    /// Whether the favoured image of a pair is worse than its budget allows.
    ///
    /// @param logitScale logit scale of the pair
    /// @param error error of the policy on the favoured image
    /// @param reference error of the reference on it
    public boolean isOverBudget(double logitScale, double error, double reference) {
        return budget.isPresent()
                && objective.strength() * logitScale * (error - reference)
                        > budget.get().delta();
    }

    /// The objective by itself.
    public static PairLoss of(Objective objective) {
        return new PairLoss(objective, Optional.empty(), Optional.empty());
    }
}
