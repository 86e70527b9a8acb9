package org.smpo.data;

import java.util.List;

/// The pairs or single images of a batch and the records that turned out bad, both in the batch's order.
///
/// @param <T> [PreparedPair] or [PreparedSingle]
/// @param pairs pairs or single images ready for training
/// @param bad records that were skipped
public record PreparedBatch<T>(List<T> pairs, List<BadPair> bad) {}
