package org.smpo.objective;

import java.util.Set;

/// Diffusion-KTO, equation 8: a utility of each image by itself. With the gain g = r − ℓ and the
/// batch's mean gain z0 (no gradient), an image costs λ(1 − σ(±β(g − z0))), with + for a winner and
/// − for a loser. A pair's loss is the mean of the two. Images without a pair cost the same, with + for a desirable
/// one, which is the published sampling. The paper has β 5000 and both weights 1 for
/// Stable Diffusion 1.5.
@MethodInfo(
        kind = 7,
        title = "Diffusion-KTO",
        arxiv = "2404.04465",
        loss = "mean over both images of λ(1 − σ(±β(r − ℓ − z0)))")
public record Kto(
        @ParameterInfo("Strength in units of the mean error")
        double beta,

        @ParameterInfo(value = "Weight of winners", byDefault = 1)
        double desirableWeight,

        @ParameterInfo(value = "Weight of losers", byDefault = 1)
        double undesirableWeight)
        implements Objective {
    public Kto {
        Require.positive("kto", "beta", beta);
        Require.nonNegative("kto", "desirable weight", desirableWeight);
        Require.nonNegative("kto", "undesirable weight", undesirableWeight);
    }

    @Override
    public double strength() {
        return beta;
    }

    @Override
    public double[] parameters() {
        return new double[] {desirableWeight, undesirableWeight};
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_PER_IMAGE;
    }

    @Override
    public boolean takesSingleImages() {
        return true;
    }

    @Override
    public boolean judgesImages() {
        return true;
    }

    @Override
    public boolean timestepPerImage() {
        return true;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of(PairInput.MEAN_GAIN);
    }
}
