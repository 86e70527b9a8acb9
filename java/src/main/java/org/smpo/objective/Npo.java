package org.smpo.objective;

import java.util.Set;

/// Diffusion-NPO: the pair loss with winner and loser exchanged, which trains the negative branch of guidance.
/// L = softplus(u), u = −κβΔ. Source: arXiv 2505.11245 and the authors' `train_sd15.py`, `train_sdxl.py`.
///
/// The logit is that of preferring the winner, as everywhere; training lowers it.
///
/// @param beta strength in mean-error units, > 0
/// @param kappa factor on beta, > 0
public record Npo(double beta, double kappa) implements Objective {
    /// @throws IllegalArgumentException when a parameter is not a finite number > 0
    public Npo {
        Require.strength("npo", beta, kappa);
    }

    /// The authors' Stable Diffusion 1.5 script: β 500, κ 1.
    public static Npo sd15() {
        return new Npo(500, 1);
    }

    /// The authors' SDXL script: β 2000, κ ½.
    public static Npo sdxl() {
        return new Npo(2000, 0.5);
    }

    @Override
    public String name() {
        return "npo";
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double slope = strength() * pair.logitScale();
        double u = -slope * pair.errors().difference();
        double gradient = slope * Logistic.sigmoid(u);
        return new PairLoss(Logistic.softplus(u), u, -gradient, gradient);
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.npo(beta, kappa);
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_SHARED;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of();
    }

    @Override
    public PairImage favours() {
        return PairImage.LOSER;
    }
}
