/// Rewards: models that predict how well people would like an image for a caption.
///
/// [RewardSource] is a reward as a user names it, [RewardKind] lists the kinds, and [Reward] is a loaded
/// model. [ScoreRun] scores a whole dataset and writes a file, which [ScoreTable] reads for training.
/// [RewardGradient] differentiates scores with respect to latents.
package org.smpo.reward;
