package org.smpo.ffi;

/// Forward diffusion of a batch's images: x = sample x0 + noise n, target = targetSample x0 + targetNoise n, with n
/// standard normal. One number for each image in every array.
///
/// @param perImage false: both images of a pair get the same n
@SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
public record ForwardNoise(
        boolean perImage, double[] sample, double[] noise, double[] targetSample, double[] targetNoise) {}
