package org.smpo.objective;

/// A pair loss as scalars for the native kernel (the fields of its `PairLoss`): the formula's kind, its
/// coefficients, and the two additions that any kind may carry. Coefficients that the kind does not read are
/// 0, so that two specs are equal exactly when they compute the same.
///
/// @param kind the formula
/// @param beta strength in mean-error units
/// @param kappa factor on beta
/// @param gamma sensitivity of [PairLossKind#SMPO] to the label
/// @param alpha softness of [PairLossKind#DMPO]'s target
/// @param margin target logit of [PairLossKind#IPO]
/// @param mapoScale s of [PairLossKind#MAPO]'s φ
/// @param mapoTemperature T of [PairLossKind#MAPO]
/// @param mapoWeight b, the weight of [PairLossKind#MAPO]'s preference term
/// @param desirableWeight λ of [PairLossKind#KTO]'s winners
/// @param undesirableWeight λ of [PairLossKind#KTO]'s losers
/// @param budgetWeight λ of [BcrBudget]; 0 without
/// @param budget δ of [BcrBudget]; 0 without
/// @param winnerSafeguard whether [SdpoSafeguard] scales the loser's gradient
/// @param safeguardMu μ of [SdpoSafeguard]; 0 without
public record PairLossSpec(
        PairLossKind kind,
        double beta,
        double kappa,
        double gamma,
        double alpha,
        double margin,
        double mapoScale,
        double mapoTemperature,
        double mapoWeight,
        double desirableWeight,
        double undesirableWeight,
        double budgetWeight,
        double budget,
        boolean winnerSafeguard,
        double safeguardMu) {

    private static PairLossSpec of(
            PairLossKind kind, double beta, double kappa, double gamma, double alpha, double margin) {
        return new PairLossSpec(kind, beta, kappa, gamma, alpha, margin, 0, 0, 0, 0, 0, 0, 0, false, 0);
    }

    static PairLossSpec sft() {
        return of(PairLossKind.SFT, 0, 0, 0, 0, 0);
    }

    static PairLossSpec dpo(double beta, double kappa) {
        return of(PairLossKind.DPO, beta, kappa, 0, 0, 0);
    }

    static PairLossSpec npo(double beta, double kappa) {
        return of(PairLossKind.NPO, beta, kappa, 0, 0, 0);
    }

    static PairLossSpec smpo(double beta, double kappa, double gamma) {
        return of(PairLossKind.SMPO, beta, kappa, gamma, 0, 0);
    }

    static PairLossSpec dmpo(double beta, double kappa, double alpha) {
        return of(PairLossKind.DMPO, beta, kappa, 0, alpha, 0);
    }

    static PairLossSpec ipo(double beta, double kappa, double margin) {
        return of(PairLossKind.IPO, beta, kappa, 0, 0, margin);
    }

    static PairLossSpec capo(double beta) {
        return of(PairLossKind.CAPO, beta, 1, 0, 0, 0);
    }

    static PairLossSpec kto(double beta, double desirableWeight, double undesirableWeight) {
        return new PairLossSpec(
                PairLossKind.KTO, beta, 1, 0, 0, 0, 0, 0, 0, desirableWeight, undesirableWeight, 0, 0, false, 0);
    }

    static PairLossSpec mapo(double scale, double temperature, double weight) {
        return new PairLossSpec(PairLossKind.MAPO, 0, 0, 0, 0, 0, scale, temperature, weight, 0, 0, 0, 0, false, 0);
    }

    /// This loss with a budget for the winner added. A budget that can add nothing (λ = 0 or δ = ∞) leaves it
    /// unchanged.
    ///
    /// @throws IllegalArgumentException when the kind has no reference to hold the winner against
    public PairLossSpec with(BcrBudget added) {
        if (kind == PairLossKind.MAPO || kind == PairLossKind.SFT) {
            throw BcrBudget.withoutReference(kind.name());
        }
        if (added.lambda() == 0 || added.delta() == Double.POSITIVE_INFINITY) {
            return this;
        }
        return new PairLossSpec(
                kind,
                beta,
                kappa,
                gamma,
                alpha,
                margin,
                mapoScale,
                mapoTemperature,
                mapoWeight,
                desirableWeight,
                undesirableWeight,
                added.lambda(),
                added.delta(),
                winnerSafeguard,
                safeguardMu);
    }

    /// This loss with the loser's gradient scaled by the safeguard.
    public PairLossSpec with(SdpoSafeguard added) {
        return new PairLossSpec(
                kind,
                beta,
                kappa,
                gamma,
                alpha,
                margin,
                mapoScale,
                mapoTemperature,
                mapoWeight,
                desirableWeight,
                undesirableWeight,
                budgetWeight,
                budget,
                true,
                added.mu());
    }
}
