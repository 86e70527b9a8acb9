package org.smpo.data;

/// What stands at one place of a source: a pair, or what is wrong with it.
public sealed interface PairRecord permits PreferencePair, BadPair {
    /// Its place in the source, from 0.
    int index();

    /// Its name in logs: the data's own, or else made of its place.
    String id();
}
