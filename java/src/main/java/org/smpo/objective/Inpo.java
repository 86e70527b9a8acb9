package org.smpo.objective;

/// DDIM-InPO: Diffusion-DPO's loss on latents noised by inversion. Published: β 2000 for Stable
/// Diffusion 1.5 and 5000 for SDXL, κ ½, η 0.1.
@MethodInfo(kind = 1, title = "DDIM-InPO", arxiv = "2503.18454", loss = "softplus(−u), u = −κβΔ")
public record Inpo(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa,

        @ParameterInfo(value = "Factor of the noise added after each inversion step", byDefault = 0.1)
        double eta)
        implements Objective {
    public Inpo {
        Require.strength("inpo", beta, kappa);
        Require.nonNegative("inpo", "eta", eta);
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.INVERSION;
    }

    @Override
    public double inversionEta() {
        return eta;
    }
}
