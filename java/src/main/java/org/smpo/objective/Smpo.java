package org.smpo.objective;

import java.util.EnumSet;
import java.util.OptionalDouble;
import java.util.Set;

/// SmPO-Diffusion: the pair loss with a smoothed label. L = softplus(−u), u = −κβγ(2p − 1)Δ.
///
/// An undecided pair (p = ½) has the loss log 2 and no gradient: the label scales the logit, it is not label
/// smoothing. Source: arXiv 2506.02698, final equation; the authors' `train.py` has the extra κ = ½.
///
/// @param beta strength in mean-error units, > 0
/// @param gamma sensitivity to the label, > 0
/// @param kappa factor on beta, > 0
public record Smpo(double beta, double gamma, double kappa) implements Objective {
    /// @throws IllegalArgumentException when a parameter is not a finite number > 0
    public Smpo {
        Require.positive("smpo", "beta", beta);
        Require.positive("smpo", "gamma", gamma);
        Require.positive("smpo", "kappa", kappa);
    }

    /// The published Stable Diffusion 1.5 setting: β 2000, γ 10, κ ½.
    public static Smpo sd15() {
        return new Smpo(2000, 10, 0.5);
    }

    /// The published SDXL setting: β 5000, γ 10, κ ½.
    public static Smpo sdxl() {
        return new Smpo(5000, 10, 0.5);
    }

    @Override
    public String name() {
        return "smpo";
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double p = pair.require(this, PairInput.LABEL);
        double slope = strength() * pair.logitScale() * gamma * (2 * p - 1);
        return Logistic.preferWinner(-slope * pair.errors().difference(), slope);
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.smpo(beta, kappa, gamma);
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.INVERSION;
    }

    @Override
    public Set<PairInput> inputs() {
        return EnumSet.of(PairInput.LABEL);
    }

    @Override
    public OptionalDouble labelScale() {
        return OptionalDouble.of(gamma);
    }
}
