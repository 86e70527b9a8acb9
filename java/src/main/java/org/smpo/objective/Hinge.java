package org.smpo.objective;

/// Hinge: the pair loss of a margin classifier, which leaves a pair alone once its logit is 1.
/// TRL's and diffusers' DPO scripts offer it as `loss_type` hinge, after SLiC-HF for language
/// models; β is theirs with κ 1.
@MethodInfo(kind = 10, title = "Hinge (SLiC)", arxiv = "2305.10425", loss = "max(0, 1 − u), u = −κβΔ")
public record Hinge(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa)
        implements Objective {
    public Hinge {
        Require.strength("hinge", beta, kappa);
    }

    @Override
    public double strength() {
        return kappa * beta;
    }
}
