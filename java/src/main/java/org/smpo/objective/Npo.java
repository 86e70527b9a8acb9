package org.smpo.objective;

/// Diffusion-NPO: the pair loss with winner and loser exchanged, which trains the negative branch
/// of guidance. The logit is that of preferring the winner, as everywhere; training lowers it. The
/// authors' scripts have β 500, κ 1 for Stable Diffusion 1.5 and β 2000, κ ½ for SDXL.
@MethodInfo(kind = 3, title = "Diffusion-NPO", arxiv = "2505.11245", loss = "softplus(u), u = −κβΔ")
public record Npo(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa)
        implements Objective {
    public Npo {
        Require.strength("npo", beta, kappa);
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public PairImage favours() {
        return PairImage.LOSER;
    }
}
