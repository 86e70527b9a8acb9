package org.smpo.ffi;

/// What an inversion took.
///
/// @param batches UNet evaluations of a batch
/// @param evaluations of one image
/// @param seconds on the host's clock
/// @param unetSeconds of which inside the UNet; on a GPU, the time to queue its work
public record InversionReport(int batches, long evaluations, double seconds, double unetSeconds) {}
