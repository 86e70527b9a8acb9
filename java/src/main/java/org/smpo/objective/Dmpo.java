package org.smpo.objective;

/// DMPO: the reverse Kullback-Leibler form of the pair problem. The loss is 0 at u = log((1 − α)/α)
/// and its gradient reverses beyond; it also vanishes for very badly ordered pairs. Published with
/// Diffusion-SDPO's `train.py`: β 2000 for Stable Diffusion 1.5 and 6000 for SDXL, κ ½, α 0.01.
@MethodInfo(kind = 4, title = "DMPO", arxiv = "2507.07510", loss = "KL(Bernoulli(σ(u)) ‖ Bernoulli(1 − α)), u = −κβΔ")
public record Dmpo(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa,

        @ParameterInfo(value = "Probability in the target that the loser is better", byDefault = 0.01)
        double alpha)
        implements Objective {
    /// The published code clamps alpha to this distance from 0 and 1; here a value outside is an
    /// error.
    private static final double SMALLEST_ALPHA = 1e-6;

    public Dmpo {
        Require.strength("dmpo", beta, kappa);
        if (!(alpha >= SMALLEST_ALPHA && alpha <= 1 - SMALLEST_ALPHA)) {
            throw Require.outside("dmpo", "alpha", "a number in [1e-6, 1 - 1e-6]", alpha);
        }
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public double[] parameters() {
        return new double[] {alpha};
    }
}
