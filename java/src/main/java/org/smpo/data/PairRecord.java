package org.smpo.data;

/// A record of a source: a pair, or what is wrong with it.
public sealed interface PairRecord permits PreferencePair, BadPair {
    /// Index of the record in its source, from 0.
    int index();

    /// Name of the record in logs: the data's own, or one made from its place.
    String id();
}
