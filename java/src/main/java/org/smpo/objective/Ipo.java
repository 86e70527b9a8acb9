package org.smpo.objective;

/// IPO: a squared loss that pulls the logit to a margin, carried over to mean errors. No setting
/// for diffusion models is published.
@MethodInfo(kind = 5, title = "IPO", arxiv = "2310.12036", loss = "(u − margin)², u = −κβΔ")
public record Ipo(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa,

        @ParameterInfo(value = "Logit at which the loss is 0", byDefault = 0.5)
        double margin)
        implements Objective {
    public Ipo {
        Require.strength("ipo", beta, kappa);
        Require.finite("ipo", "margin", margin);
    }

    @Override
    public boolean hasTarget() {
        return true;
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public double[] parameters() {
        return new double[] {margin};
    }
}
