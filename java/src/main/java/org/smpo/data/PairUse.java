package org.smpo.data;

/// One use of a pair in training. Together with the seed it determines the pair's random crop, flip and
/// caption dropout.
///
/// @param pair index of the pair in its source
/// @param epoch number of the pass over the data, from 0, below 2^32
public record PairUse(int pair, long epoch) {}
