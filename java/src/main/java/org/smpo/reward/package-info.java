/// Rewards: numbers that say how much people would like a picture of a caption.
///
/// [PickScore] is one; whatever speaks of scores takes a [Reward]. [ScoreRun] scores a whole data set and writes a
/// file, which [ScoreTable] reads for the trainer.
package org.smpo.reward;
