package org.smpo.objective;

/// The loss of one pair and its derivatives in the policy's two errors. The reference's errors carry no
/// gradient.
///
/// The gradient in a prediction follows as `winnerGradient · 2 (prediction − target) / N`, N the elements of a
/// latent.
///
/// @param value the loss; a batch's loss is the mean over its pairs
/// @param logit u, positive when the policy prefers the winner (more than the reference does, where there is
///     one); 0 for an objective that compares nothing
/// @param winnerGradient ∂value/∂ℓ_w
/// @param loserGradient ∂value/∂ℓ_l
record LossValue(double value, double logit, double winnerGradient, double loserGradient) {}
