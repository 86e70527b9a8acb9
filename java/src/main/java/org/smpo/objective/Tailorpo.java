package org.smpo.objective;

/// TailorPO: at a step of the policy's own trajectory, the candidate whose clean latents a reward
/// prefers wins over another from the same latents. The loss is DPO's on the log ratios of the step;
/// strength and candidates are not published in code.
@MethodInfo(
        kind = 1,
        title = "TailorPO",
        arxiv = "2502.01667",
        loss = "softplus(−u), u = β (log ρ_w − log ρ_l), ρ = π_θ/π_ref of a sampling step")
public record Tailorpo(
        @ParameterInfo("Strength in units of the mean log ratio")
        double beta) implements Objective {
    public Tailorpo {
        Require.positive("tailorpo", "beta", beta);
    }

    @Override
    public double strength() {
        return beta;
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.GIVEN;
    }
}
