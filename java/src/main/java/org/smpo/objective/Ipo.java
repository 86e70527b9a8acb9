package org.smpo.objective;

import java.util.Set;

/// IPO: a squared loss that pulls the logit to a margin. L = (u − margin)², u = −κβΔ. Source: Azar et al.,
/// arXiv 2310.12036, carried over to mean errors. There is no published setting for diffusion models.
///
/// @param beta strength in mean-error units, > 0
/// @param kappa factor on beta, > 0
/// @param margin the logit at which the loss is 0, finite
public record Ipo(double beta, double kappa, double margin) implements Objective {
    /// @throws IllegalArgumentException when a parameter is out of its range
    public Ipo {
        Require.strength("ipo", beta, kappa);
        Require.finite("ipo", "margin", margin);
    }

    /// Margin ½.
    public Ipo(double beta, double kappa) {
        this(beta, kappa, 0.5);
    }

    @Override
    public String name() {
        return "ipo";
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double slope = strength() * pair.logitScale();
        double u = -slope * pair.errors().difference();
        double missing = margin - u;
        return new PairLoss(missing * missing, u, 2 * missing * slope, -2 * missing * slope);
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.ipo(beta, kappa, margin);
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
