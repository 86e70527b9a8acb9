package org.smpo.objective;

import java.util.Set;

/// DDIM-InPO: Diffusion-DPO's loss on latents noised by inversion. L = softplus(−u), u = −κβΔ.
/// Source: arXiv 2503.18454 and the authors' `train.py`.
///
/// @param beta strength in mean-error units, > 0
/// @param kappa factor on beta, > 0
/// @param eta factor of the noise added after each inversion step, ≥ 0
public record Inpo(double beta, double kappa, double eta) implements Objective {
    /// @throws IllegalArgumentException when a parameter is out of its range
    public Inpo {
        Require.strength("inpo", beta, kappa);
        Require.nonNegative("inpo", "eta", eta);
    }

    /// The published Stable Diffusion 1.5 setting: β 2000, κ ½, η 0.1.
    public static Inpo sd15() {
        return new Inpo(2000, 0.5, 0.1);
    }

    /// The published SDXL setting: β 5000, κ ½, η 0.1.
    public static Inpo sdxl() {
        return new Inpo(5000, 0.5, 0.1);
    }

    @Override
    public String name() {
        return "inpo";
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double slope = strength() * pair.logitScale();
        return Logistic.preferWinner(-slope * pair.errors().difference(), slope);
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.dpo(beta, kappa);
    }

    @Override
    public NoiseSource noise() {
        return eta > 0 ? NoiseSource.INVERSION_WITH_ETA : NoiseSource.INVERSION;
    }

    @Override
    public double inversionEta() {
        return eta;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of();
    }
}
