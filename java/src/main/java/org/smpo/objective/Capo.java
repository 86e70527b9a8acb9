package org.smpo.objective;

import java.util.EnumSet;
import java.util.Set;

/// CaPO: a squared loss with a margin per pair, the difference of calibrated rewards. L = e², e = ΔR − β ω_t ((r_w
/// − ℓ_w) − (r_l − ℓ_l)), ω_t = σ(bias − log SNR). Source: arXiv 2502.02588 as described in two independent notes;
/// no code and no values of β and bias are published.
///
/// @param beta strength in mean-error units, > 0
/// @param bias of the timestep weight ω_t, given to the loss as its logit scale; +∞ weighs all timesteps 1
public record Capo(double beta, double bias) implements Objective {
    /// @throws IllegalArgumentException when a parameter is out of its range
    public Capo {
        Require.positive("capo", "beta", beta);
        if (bias != Double.POSITIVE_INFINITY) {
            Require.finite("capo", "bias", bias);
        }
    }

    /// All timesteps weighed 1.
    public Capo(double beta) {
        this(beta, Double.POSITIVE_INFINITY);
    }

    @Override
    public String name() {
        return "capo";
    }

    @Override
    public double strength() {
        return beta;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double slope = strength() * pair.logitScale();
        double u = -slope * pair.errors().difference();
        double missing = pair.require(this, PairInput.REWARD_MARGIN) - u;
        return new PairLoss(missing * missing, u, 2 * missing * slope, -2 * missing * slope);
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.capo(beta);
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_PER_IMAGE;
    }

    @Override
    public Set<PairInput> inputs() {
        return EnumSet.of(PairInput.REWARD_MARGIN);
    }

    @Override
    public double logitScale(double alphaCumprod) {
        Require.openUnit("capo", "alpha_cumprod", alphaCumprod);
        double logSnr = Math.log(alphaCumprod) - Math.log1p(-alphaCumprod);
        return Logistic.sigmoid(bias - logSnr);
    }
}
