package org.smpo.demo;

/// A kind of object.
public record Thing(Colour colour, Shape shape) {}
