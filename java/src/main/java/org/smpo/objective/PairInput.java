package org.smpo.objective;

/// What an [Objective] may ask for beside the four errors of a pair: weights known before the step, and
/// statistics of it.
public enum PairInput {
    /// The smoothed label p of the pair, see [SmoothedLabel].
    LABEL,
    /// The difference of the two images' calibrated rewards.
    REWARD_MARGIN,
    /// The mean gain over the reference of all images of the batch, not below 0, without gradient; see
    /// [Kto#meanGain].
    MEAN_GAIN
}
