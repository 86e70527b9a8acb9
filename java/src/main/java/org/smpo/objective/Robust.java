package org.smpo.objective;

/// Robust DPO: the pair loss made unbiased under labels of which a share ε is swapped. TRL offers
/// it as `loss_type` robust with `label_smoothing` ε; ε = 0 is DPO. The loss has no lower bound.
@MethodInfo(
        kind = 11,
        title = "Robust DPO",
        arxiv = "2403.00409",
        loss = "((1 − ε) softplus(−u) − ε softplus(u)) / (1 − 2ε), u = −κβΔ")
public record Robust(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
        double kappa,

        @ParameterInfo(value = "Share of swapped labels", byDefault = 0.1)
        double epsilon)
        implements Objective {
    public Robust {
        Require.strength("robust", beta, kappa);
        if (!(epsilon >= 0 && epsilon < 0.5)) {
            throw Require.outside("robust", "epsilon", "a number in [0, 0.5)", epsilon);
        }
    }

    @Override
    public double strength() {
        return kappa * beta;
    }

    @Override
    public double[] parameters() {
        return new double[] {epsilon};
    }
}
