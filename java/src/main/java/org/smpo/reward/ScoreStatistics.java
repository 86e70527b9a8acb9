package org.smpo.reward;

/// Statistics of the scores of a dataset.
///
/// @param lowest lowest score of an image
/// @param highest highest score of an image
/// @param firstBetter share of the pairs whose image 0 has the higher score
public record ScoreStatistics(double lowest, double highest, double firstBetter) {}
