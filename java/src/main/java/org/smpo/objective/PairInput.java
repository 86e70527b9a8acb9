package org.smpo.objective;

/// A number that an [Objective] reads beside the four errors of a pair.
public enum PairInput {
    /// The smoothed label p of the pair, see [SmoothedLabel].
    LABEL,
    /// The difference of the two images' calibrated rewards.
    REWARD_MARGIN,
    /// The mean gain over the reference of all images of the batch, at least 0, without gradient.
    MEAN_GAIN
}
