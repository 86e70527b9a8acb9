package org.smpo.demo;

/// The sizes of an object that is alone.
public enum Size {
    SMALL,
    LARGE
}
