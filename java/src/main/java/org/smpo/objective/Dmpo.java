package org.smpo.objective;

import java.util.Set;

/// DMPO: the reverse Kullback-Leibler form of the pair problem. With u = −κβΔ and P = σ(u), L = P (log P − log(1 −
/// α)) + (1 − P)(log(1 − P) − log α) = KL(Bernoulli(P) ‖ Bernoulli(1 − α)).
///
/// The margin is bounded: L is 0 at u* = log((1 − α)/α) and the gradient reverses beyond; it also vanishes for very
/// badly ordered pairs, which makes L tend to −log α there. Source: arXiv 2507.07510, as implemented in
/// Diffusion-SDPO's `train.py`.
///
/// @param beta strength in mean-error units, > 0
/// @param kappa factor on beta, > 0
/// @param alpha the target's probability that the loser is better, in [1e-6, 1 − 1e-6]
public record Dmpo(double beta, double kappa, double alpha) implements Objective {
    /// The published code clamps alpha to this distance from 0 and 1; here a value outside is an error.
    public static final double SMALLEST_ALPHA = 1e-6;

    /// @throws IllegalArgumentException when a parameter is out of its range
    public Dmpo {
        Require.strength("dmpo", beta, kappa);
        if (!(alpha >= SMALLEST_ALPHA && alpha <= 1 - SMALLEST_ALPHA)) {
            throw Require.outside("dmpo", "alpha", "a number in [1e-6, 1 - 1e-6]", alpha);
        }
    }

    /// Diffusion-SDPO's script for Stable Diffusion 1.5: β 2000, κ ½, α 0.01.
    public static Dmpo sd15() {
        return new Dmpo(2000, 0.5, 0.01);
    }

    /// Diffusion-SDPO's script for SDXL: β 6000, κ ½, α 0.01.
    public static Dmpo sdxl() {
        return new Dmpo(6000, 0.5, 0.01);
    }

    @Override
    public String name() {
        return "dmpo";
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double slope = strength() * pair.logitScale();
        double u = -slope * pair.errors().difference();
        double right = Logistic.sigmoid(u);
        double wrong = Logistic.sigmoid(-u);
        double logTargetRight = Math.log1p(-alpha);
        double logTargetWrong = Math.log(alpha);
        double value =
                right * (-Logistic.softplus(-u) - logTargetRight) + wrong * (-Logistic.softplus(u) - logTargetWrong);
        double inLogit = right * wrong * (u - (logTargetRight - logTargetWrong));
        return new PairLoss(value, u, -slope * inLogit, slope * inLogit);
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.dmpo(beta, kappa, alpha);
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_SHARED;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of();
    }
}
