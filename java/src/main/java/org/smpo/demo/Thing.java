package org.smpo.demo;

/// A kind of object: its colour and shape.
public record Thing(Colour colour, Shape shape) {}
