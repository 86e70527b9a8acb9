package org.smpo.objective;

/// Diffusion-SDPO's safeguard for the winner, around any pair loss: scales the loser's gradient by a λ in [0, 1] so
/// that, to first order in output space, a step does not raise the winner's error.
///
/// With g_A, g_B the gradients of the mean winner and loser error in the predictions, λ = clamp((1 − μ)‖g_A‖² /
/// (g_A·g_B + ε), 0, 1) if g_A·g_B > 0, else 1. The published code has one λ per micro-batch; here it is one per
/// pair. It assumes that the network's Jacobians of the two rows agree. Source: arXiv 2511.03317 and the authors'
/// `train.py`.
///
/// @param mu μ in [0, 1]: the share of the winner's decrease that is protected
public record SdpoSafeguard(double mu) {
    /// ε, which keeps the denominator from 0; 1e-9 in the authors' code.
    public static final double EPSILON = 1e-9;

    /// @throws IllegalArgumentException when a parameter is out of its range
    public SdpoSafeguard {
        Require.unit("sdpo", "mu", mu);
    }

    /// The published setting around DPO and DMPO on Stable Diffusion 1.5: μ 0.9.
    public static SdpoSafeguard sd15() {
        return new SdpoSafeguard(0.9);
    }

    /// The published SDXL setting: μ 0.6.
    public static SdpoSafeguard sdxl() {
        return new SdpoSafeguard(0.6);
    }

    /// λ from the two inner products.
    ///
    /// @param winnerSquaredNorm ‖g_A‖²
    /// @param innerProduct g_A·g_B
    public double lambda(double winnerSquaredNorm, double innerProduct) {
        Require.nonNegative("sdpo", "squared norm", winnerSquaredNorm);
        Require.finite("sdpo", "inner product", innerProduct);
        if (!(innerProduct > 0)) {
            return 1;
        }
        return Math.clamp((1 - mu) * winnerSquaredNorm / (innerProduct + EPSILON), 0.0, 1.0);
    }

    /// The pair's loss with the loser's gradient scaled; the value stays.
    public PairLoss protect(PairLoss loss, double lambda) {
        Require.unit("sdpo", "lambda", lambda);
        return new PairLoss(loss.value(), loss.logit(), loss.winnerGradient(), lambda * loss.loserGradient());
    }
}
