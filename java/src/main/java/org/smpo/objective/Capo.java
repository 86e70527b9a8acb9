package org.smpo.objective;

import java.util.Set;

/// CaPO: a squared loss with a margin per pair, the difference ΔR of calibrated rewards. The weight
/// of a timestep is ω_t = σ(bias − log SNR); a bias of +∞ weighs all timesteps 1. As described in
/// two independent notes: no code and no values of β and bias are published.
@MethodInfo(kind = 6, title = "CaPO", arxiv = "2502.02588", loss = "(ΔR − u)², u = −βω_tΔ")
public record Capo(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo("Bias of the weight of a timestep") double bias)
        implements Objective {
    public Capo {
        Require.positive("capo", "beta", beta);
        if (bias != Double.POSITIVE_INFINITY) {
            Require.finite("capo", "bias", bias);
        }
    }

    @Override
    public boolean hasTarget() {
        return true;
    }

    @Override
    public double strength() {
        return beta;
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_PER_IMAGE;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of(PairInput.REWARD_MARGIN);
    }

    @Override
    public double logitScale(double alphaCumprod) {
        Require.openUnit("capo", "alpha_cumprod", alphaCumprod);
        double logSnr = Math.log(alphaCumprod) - Math.log1p(-alphaCumprod);
        return Logistic.sigmoid(bias - logSnr);
    }
}
