package org.smpo.data;

/// A record that cannot be used.
///
/// @param index index of the record in its source
/// @param id name of the record, or one made from its place
/// @param problem what is wrong, of severity `BAD`
/// @param message where it is, what was expected and what was found
public record BadPair(int index, String id, Problem problem, String message) implements PairRecord, ImageRecord {}
