package org.smpo.doctor;

/// A problem of the machine or the build, and how to fix it.
///
/// @param fatal Whether it keeps the engine from running
/// @param what Description of the problem
/// @param advice How to fix it
public record Finding(boolean fatal, String what, String advice) {}
