package org.smpo.objective;

/// Diffusion-DPO, equation 14. The authors' launchers have β 5000 and κ ½ for Stable Diffusion 1.5
/// and SDXL; the paper's main run on 1.5 has β 2000; diffusers' research script has κ 1.
@MethodInfo(kind = 1, title = "Diffusion-DPO", arxiv = "2311.12908", loss = "softplus(−u), u = −κβΔ")
public record Dpo(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa)
        implements Objective {
    public Dpo {
        Require.strength("dpo", beta, kappa);
    }

    @Override
    public double strength() {
        return kappa * beta;
    }
}
