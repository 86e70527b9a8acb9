package org.smpo.objective;

/// Self-NPO: a network learns to predict the clean latents that its own average predicts at the end of a
/// short rollout without a prompt, and so becomes a network of worse images, for guidance to lead away
/// from. It needs no preferences. Errors are in units of clean latents: the published loss is the
/// pseudo-Huber one with c 1e-3; with c infinite it is the squared error, which grows without bound with
/// the noise.
@MethodInfo(
        kind = 12,
        title = "Self-NPO",
        arxiv = "2505.11777",
        loss = "mean of √(d² + c²) − c, d = x̂0 of the policy − x̂0 of the teacher; d² for c = inf")
public record Selfnpo(
        @ParameterInfo(
                value = "Difference of clean latents up to which the loss is quadratic; inf: the squared error",
                byDefault = 1e-3)
        double huberC)
        implements Objective {
    private static final int SQUARED_ERROR = new Sft().kind();

    public Selfnpo {
        if (!(huberC > 0)) {
            throw Require.outside("selfnpo", "huber c", "a number > 0 or inf", huberC);
        }
    }

    @Override
    public int kind() {
        return huberC == Double.POSITIVE_INFINITY ? SQUARED_ERROR : Objective.super.kind();
    }

    @Override
    public double strength() {
        return 0;
    }

    @Override
    public double[] parameters() {
        return huberC == Double.POSITIVE_INFINITY ? new double[0] : new double[] {huberC};
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.ROLLOUT;
    }

    @Override
    public boolean comparesCleanLatents() {
        return true;
    }

    @Override
    public boolean needsReference() {
        return false;
    }

    @Override
    public boolean takesSingleImages() {
        return true;
    }

    @Override
    public boolean hasLogit() {
        return false;
    }

    @Override
    public boolean trainsNegative() {
        return true;
    }
}
