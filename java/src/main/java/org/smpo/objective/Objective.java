package org.smpo.objective;

import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;

/// A preference objective: the loss of a pair of images with its parameters, and what a trainer must
/// provide for it.
///
/// An objective never reaches into the trainer. It states where noise comes from ([#noise]), whether a
/// reference model runs ([#needsReference]), whether each image has a timestep of its own
/// ([#timestepPerImage]), which numbers it reads ([#inputs]) and which image it favours ([#favours]);
/// the trainer provides them. The native kernel computes the loss
/// (`native/src/kernels/preference_loss.h`); `smpo.h` lists the formulas by [#kind].
///
/// Formulas: ℓ_w and ℓ_l are the policy's mean squared errors on winner and loser, r_w and r_l the
/// reference's, Δ = (ℓ_w − ℓ_l) − (r_w − r_l), and u = −κβΔ is the logit. `beta` is always in units of
/// the mean error (the "code beta" of the published scripts), where papers sum over the elements of a
/// latent. The factor `kappa` (½ in the Salesforce family of scripts, 1 in diffusers') stands beside
/// it: the same beta with another kappa is another strength.
///
/// Every constructor throws an [InvalidParameterException] naming a parameter that is out of its range.
///
/// To add a method, write its record in this package and name it in the `permits` list, which is the
/// only list of methods; then add its constant in `smpo.h`, and its formula in `pair_loss_math.h` and
/// the reference kernel.
public sealed interface Objective
        permits Smpo, Dpo, Inpo, Dmpo, Ipo, Sft, Hinge, Robust, Npo, Kto, Mapo, Capo, Tailorpo, Spo, Selfnpo {
    /// Short name of the method in recipes and messages, such as `smpo`.
    default String name() {
        return Method.nameOf(getClass());
    }

    /// The parameters by their keys in a recipe, in the order of the record.
    default Map<String, Double> values() {
        return Method.valuesOf(this);
    }

    /// Number of the loss in `smpo.h`.
    default int kind() {
        return getClass().getAnnotation(MethodInfo.class).kind();
    }

    /// κβ, the factor of −Δ in the logit at logit scale 1; 0 for an objective without a reference.
    double strength();

    /// The parameters that the loss has beside its strength, in the order of `smpo.h`.
    default double[] parameters() {
        return new double[0];
    }

    /// Source of noised latents and targets.
    default NoiseSource noise() {
        return NoiseSource.FORWARD_SHARED;
    }

    /// Whether each image has a timestep of its own, not the pair.
    default boolean timestepPerImage() {
        return false;
    }

    /// Factor of the noise added after each inversion step; 0 unless [#noise] is
    /// [NoiseSource#INVERSION].
    default double inversionEta() {
        return 0;
    }

    /// The numbers that the loss reads beside the errors.
    default Set<PairInput> inputs() {
        return Set.of();
    }

    /// Whether r_w and r_l enter the loss. Without, no reference forward runs.
    default boolean needsReference() {
        return true;
    }

    /// Whether the loss compares the two images, so that there is a logit and the loser has a gradient.
    default boolean hasLogit() {
        return true;
    }

    /// Whether the loss can be that of single images, without pairs.
    default boolean takesSingleImages() {
        return false;
    }

    /// Whether the loss of a single image depends on whether the image is desirable.
    default boolean judgesImages() {
        return false;
    }

    /// Whether errors are those of the clean latents that a prediction implies, not of the prediction
    /// itself.
    default boolean comparesCleanLatents() {
        return false;
    }

    /// Whether training makes a network of worse images, for guidance to lead away from.
    default boolean trainsNegative() {
        return favours() == PairImage.LOSER;
    }

    /// Whether the loss pulls the logit to a target, with a gradient that grows with the distance, so
    /// that no logit is too large to learn from.
    default boolean hasTarget() {
        return false;
    }

    /// The image whose error training lowers.
    default PairImage favours() {
        return PairImage.WINNER;
    }

    /// Sensitivity γ, the factor of the margin 2p − 1 of a smoothed label in the logit; empty for an
    /// objective that reads no label.
    default OptionalDouble labelScale() {
        return OptionalDouble.empty();
    }

    /// The logit scale ω_t of a timestep with the given cumulative product of alphas in (0, 1). Pairs
    /// whose latents are given ([NoiseSource#GIVEN]) bring their own.
    default double logitScale(double alphaCumprod) {
        Require.openUnit(name(), "alpha_cumprod", alphaCumprod);
        return 1;
    }
}
