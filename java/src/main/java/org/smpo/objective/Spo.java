package org.smpo.objective;

/// The pair loss per sampling step of SPO and LPO on log-probability ratios of one sampler step: L =
/// softplus(−u), u = β (log ρ_w − log ρ_l), ρ = clamp(π_θ/π_ref, 1 − ε, 1 + ε). Outside the clamp there is no
/// gradient. Log probabilities are means over a latent's elements, so β is in mean units. Used by the on-policy
/// trainer of SPO, which is not there yet. Source: arXiv 2406.04314 and the authors' `train_spo.py`; arXiv
/// 2502.01051.
///
/// @param beta strength in units of the mean, > 0
/// @param epsilon half width of the clamp, in (0, 1)
public record Spo(double beta, double epsilon) {
    /// @throws IllegalArgumentException when a parameter is out of its range
    public Spo {
        Require.positive("spo", "beta", beta);
        Require.openUnit("spo", "epsilon", epsilon);
    }

    /// SPO's published setting: β 10, ε 0.1.
    public static Spo published() {
        return new Spo(10, 0.1);
    }

    /// LPO's published setting: β 500, ε 0.1.
    public static Spo lpo() {
        return new Spo(500, 0.1);
    }

    /// The loss of two candidates and its derivatives in their log ratios.
    ///
    /// @param value L
    /// @param logit u
    /// @param winnerGradient ∂L/∂(log ratio of the winner)
    /// @param loserGradient ∂L/∂(log ratio of the loser)
    public record Loss(double value, double logit, double winnerGradient, double loserGradient) {}

    /// The loss of two candidates for the same step.
    ///
    /// @param winnerLogRatio log π_θ − log π_ref of the better candidate
    /// @param loserLogRatio log π_θ − log π_ref of the other candidate
    public Loss loss(double winnerLogRatio, double loserLogRatio) {
        Require.finite("spo", "winner log ratio", winnerLogRatio);
        Require.finite("spo", "loser log ratio", loserLogRatio);
        double u = beta * (clamp(winnerLogRatio) - clamp(loserLogRatio));
        double slope = beta * Logistic.sigmoid(-u);
        return new Loss(
                Logistic.softplus(-u),
                u,
                clamp(winnerLogRatio) == winnerLogRatio ? -slope : 0,
                clamp(loserLogRatio) == loserLogRatio ? slope : 0);
    }

    private double clamp(double logRatio) {
        return Math.clamp(logRatio, Math.log1p(-epsilon), Math.log1p(epsilon));
    }
}
