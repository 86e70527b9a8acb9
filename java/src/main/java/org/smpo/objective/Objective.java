package org.smpo.objective;

import java.util.OptionalDouble;
import java.util.Set;

/// A preference objective: a pure function of the errors of a pair, and the names of everything else it needs.
///
/// An objective never reaches into the trainer. It says which inputs it wants per pair ([#inputs]), where
/// noise comes from ([#noise]) and whether a reference model must run ([#needsReference]); the trainer
/// provides these, and the native
/// kernel, configured by [#spec], computes in single precision what [#loss] defines here in double.
///
/// `beta` is always in mean-error units (the "code beta" of the published scripts): the papers' sums over a
/// latent's elements are means here, and the factor `kappa` (½ in the Salesforce family of scripts, 1 in
/// diffusers') stands explicitly beside it. The same nominal beta with another kappa is another strength.
public sealed interface Objective permits Smpo, Dpo, Inpo, Dmpo, Ipo, Capo, Npo, Kto, Mapo, Sft {
    /// The method's short name in recipes and messages, such as `smpo`.
    String name();

    /// Value and gradient for one pair.
    ///
    /// @throws IllegalArgumentException when `pair` lacks one of [#inputs]
    PairLoss loss(PairInputs pair);

    /// The same loss as the native pair-loss kernel is to be told.
    PairLossSpec spec();

    NoiseSource noise();

    /// What [#loss] reads beside the errors.
    Set<PairInput> inputs();

    /// Standard deviation factor of the noise added after each inversion step; 0 unless [#noise] is
    /// [NoiseSource#INVERSION_WITH_ETA].
    default double inversionEta() {
        return 0;
    }

    /// Whether r_w and r_l enter the loss. Without, no reference forward need run.
    default boolean needsReference() {
        return true;
    }

    /// The image of a pair whose error training lowers, compared with the other's.
    default PairImage favours() {
        return PairImage.WINNER;
    }

    /// Whether the loss is a function of a logit, which is above 0 where the policy prefers the winner.
    default boolean hasLogit() {
        return true;
    }

    /// γ, by which the margin 2p − 1 of a smoothed label is multiplied before the logit is held against it; empty for
    /// an objective without such a target.
    default OptionalDouble labelScale() {
        return OptionalDouble.empty();
    }

    /// κβ, the factor of −Δ in the logit (of the gains, for [Kto]) at logit scale 1; 0 for an objective
    /// without reference.
    double strength();

    /// The logit scale ω_t of a timestep with the given cumulative product of alphas in (0, 1).
    default double logitScale(double alphaCumprod) {
        Require.openUnit(name(), "alpha_cumprod", alphaCumprod);
        return 1;
    }
}
