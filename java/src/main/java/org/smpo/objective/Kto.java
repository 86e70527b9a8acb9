package org.smpo.objective;

import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/// Diffusion-KTO: a utility of each image by itself. With the gain g = r − ℓ and the batch's mean gain z0 (no
/// gradient), L = λ (1 − σ(v)), v = β(g − z0) for a desirable image and −β(g − z0) for an undesirable one.
///
/// A pair is its winner (desirable) and its loser (undesirable); its loss is the mean of the two. Unpaired images
/// use [#imageLoss]. Source: arXiv 2404.04465, equation 8, and the authors' `train_kto_sd_v1.5.py`.
///
/// @param beta strength in mean-error units, > 0; this family has no factor ½
/// @param desirableWeight λ of desirable images, ≥ 0
/// @param undesirableWeight λ of undesirable images, ≥ 0
public record Kto(double beta, double desirableWeight, double undesirableWeight) implements Objective {
    /// @throws IllegalArgumentException when a parameter is out of its range
    public Kto {
        Require.positive("kto", "beta", beta);
        Require.nonNegative("kto", "desirable weight", desirableWeight);
        Require.nonNegative("kto", "undesirable weight", undesirableWeight);
    }

    /// The paper's Stable Diffusion 1.5 setting: β 5000, both weights 1. (The script's default β is 1000.)
    public static Kto sd15() {
        return new Kto(5000, 1, 1);
    }

    /// One image's loss.
    ///
    /// @param value λ (1 − σ(v)); a batch's loss is the mean over its images
    /// @param gradient ∂value/∂ℓ
    public record ImageLoss(double value, double gradient) {}

    /// z0: the mean gain over all images of the pairs, not below 0. Which pairs make up the batch (a micro-batch,
    /// the whole window, all ranks) is the caller's choice; the published code takes one micro-batch of all ranks.
    ///
    /// @throws IllegalArgumentException when there are no pairs
    public static double meanGain(List<PairErrors> batch) {
        if (batch.isEmpty()) {
            throw new IllegalArgumentException("kto: mean gain: expected at least one pair, got none");
        }
        double sum = 0;
        for (PairErrors pair : batch) {
            sum += pair.winnerGain() + pair.loserGain();
        }
        return Math.max(0, sum / (2.0 * batch.size()));
    }

    /// The loss of a single image.
    ///
    /// @param error ℓ, the policy's mean squared error
    /// @param referenceError r
    /// @param desirable whether people liked it
    /// @param meanGain z0
    public ImageLoss imageLoss(double error, double referenceError, boolean desirable, double meanGain) {
        return imageLoss(error, referenceError, desirable, meanGain, beta);
    }

    private ImageLoss imageLoss(
            double error, double referenceError, boolean desirable, double meanGain, double strength) {
        double weight = desirable ? desirableWeight : undesirableWeight;
        double slope = desirable ? strength : -strength;
        double v = slope * (referenceError - error - meanGain);
        double miss = Logistic.sigmoid(-v);
        return new ImageLoss(weight * miss, weight * slope * Logistic.sigmoid(v) * miss);
    }

    @Override
    public String name() {
        return "kto";
    }

    @Override
    public double strength() {
        return beta;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double meanGain = pair.require(this, PairInput.MEAN_GAIN);
        double strength = strength() * pair.logitScale();
        PairErrors errors = pair.errors();
        ImageLoss winner = imageLoss(errors.winner(), errors.referenceWinner(), true, meanGain, strength);
        ImageLoss loser = imageLoss(errors.loser(), errors.referenceLoser(), false, meanGain, strength);
        return new PairLoss(
                0.5 * (winner.value() + loser.value()),
                -strength * errors.difference(),
                0.5 * winner.gradient(),
                0.5 * loser.gradient());
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.kto(beta, desirableWeight, undesirableWeight);
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_PER_IMAGE_AND_TIMESTEP;
    }

    @Override
    public Set<PairInput> inputs() {
        return EnumSet.of(PairInput.MEAN_GAIN);
    }
}
