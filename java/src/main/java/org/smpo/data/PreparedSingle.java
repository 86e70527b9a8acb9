package org.smpo.data;

/// A single image ready for training.
///
/// @param use which image, in which epoch
/// @param place place of the image in the batch
/// @param id name of the image
/// @param caption the prompt; empty when it was dropped
/// @param image the image
public record PreparedSingle(PairUse use, int place, String id, String caption, PreparedImage image) {}
