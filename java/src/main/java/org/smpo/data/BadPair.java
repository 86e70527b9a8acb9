package org.smpo.data;

/// A record that is no pair.
///
/// @param index its place in the source
/// @param id its name, or made of its place
/// @param problem of severity `BAD`
/// @param message where, what was expected and what was found
public record BadPair(int index, String id, Problem problem, String message) implements PairRecord {}
