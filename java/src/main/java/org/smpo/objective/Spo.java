package org.smpo.objective;

/// SPO's loss of two candidates for a step of the policy's own trajectory, as the authors'
/// `train_spo.py` has it. Log probabilities are means over a latent's elements. The published setting
/// is β 10 and clip 0.1; LPO (arXiv 2502.01051) has β 500.
@MethodInfo(
        kind = 13,
        title = "SPO",
        arxiv = "2406.04314",
        loss = "softplus(−u), u = β (log ρ_w − log ρ_l), ρ = π_θ/π_ref of a sampling step, clamped to 1 ± clip")
public record Spo(
        @ParameterInfo("Strength in units of the mean log ratio")
        double beta,

        @ParameterInfo(value = "Half width of the range in which a ratio has a gradient", byDefault = 0.1)
        double clip)
        implements Objective {
    public Spo {
        Require.positive("spo", "beta", beta);
        Require.openUnit("spo", "clip", clip);
    }

    @Override
    public double strength() {
        return beta;
    }

    @Override
    public double[] parameters() {
        return new double[] {clip};
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.GIVEN;
    }
}
