package org.smpo.demo;

/// The sizes of a single object.
public enum Size {
    SMALL,
    LARGE
}
