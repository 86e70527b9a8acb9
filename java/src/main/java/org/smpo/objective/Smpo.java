package org.smpo.objective;

import java.util.OptionalDouble;
import java.util.Set;

/// SmPO-Diffusion: the pair loss with a smoothed label. An undecided pair (p = ½) has the loss log
/// 2 and no gradient: the label scales the logit, it is not label smoothing. Published: β 2000 for
/// Stable Diffusion 1.5 and 5000 for SDXL, γ 10; the authors' `train.py` has the extra κ = ½.
@MethodInfo(kind = 2, title = "SmPO-Diffusion", arxiv = "2506.02698", loss = "softplus(−u), u = −κβγ(2p − 1)Δ")
public record Smpo(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Sensitivity to the label", byDefault = 10)
        double gamma,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa)
        implements Objective {
    public Smpo {
        Require.positive("smpo", "beta", beta);
        Require.positive("smpo", "gamma", gamma);
        Require.positive("smpo", "kappa", kappa);
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public double[] parameters() {
        return new double[] {gamma};
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.INVERSION;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of(PairInput.LABEL);
    }

    @Override
    public OptionalDouble labelScale() {
        return OptionalDouble.of(gamma);
    }
}
