package org.smpo.objective;

import java.util.Set;

/// Diffusion-DPO: L = softplus(−u), u = −κβΔ. Source: arXiv 2311.12908, equation 14, and the authors'
/// `train.py`.
///
/// @param beta strength in mean-error units, > 0
/// @param kappa ½ in the authors' script, 1 in diffusers' research script; > 0
public record Dpo(double beta, double kappa) implements Objective {
    /// @throws IllegalArgumentException when a parameter is not a finite number > 0
    public Dpo {
        Require.strength("dpo", beta, kappa);
    }

    /// The authors' launcher for Stable Diffusion 1.5: β 5000, κ ½. (The paper's main run there has β 2000.)
    public static Dpo sd15() {
        return new Dpo(5000, 0.5);
    }

    /// The authors' launcher for SDXL: β 5000, κ ½.
    public static Dpo sdxl() {
        return new Dpo(5000, 0.5);
    }

    @Override
    public String name() {
        return "dpo";
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
        return NoiseSource.FORWARD_SHARED;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of();
    }
}
