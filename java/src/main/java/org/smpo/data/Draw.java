package org.smpo.data;

/// One use of a pair in training: which pair, in which pass over the data. Its random decisions depend on nothing
/// else but the seed.
///
/// @param pair its place in the source
/// @param epoch from 0, below 2^32
public record Draw(int pair, long epoch) {}
