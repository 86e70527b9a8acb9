package org.smpo.doctor;

/// Something that is not as it should be, and what to do about it.
///
/// @param fatal whether the engine cannot run because of it
/// @param what what is wrong
/// @param advice what to do
public record Finding(boolean fatal, String what, String advice) {}
