package org.smpo.demo;

/// What a scene's caption says about a picture; a wrong picture of it has one or two of these wrong.
public enum Attribute {
    COLOUR,
    SHAPE,
    /// How many objects there are.
    COUNT,
    /// Whether the only object is small or large.
    SIZE,
    /// Where the first of two objects is, seen from the second.
    RELATION
}
