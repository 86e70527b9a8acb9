package org.smpo.demo;

/// Attributes of an image that a caption states. A wrong image differs in one or two of them.
public enum Attribute {
    COLOUR,
    SHAPE,
    /// Number of objects.
    COUNT,
    /// Size of a single object.
    SIZE,
    /// Position of the first of two objects relative to the second.
    RELATION
}
