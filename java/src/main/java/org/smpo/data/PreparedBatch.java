package org.smpo.data;

import java.util.List;

/// The pairs of a batch and the records that turned out bad, both in the batch's order.
///
/// @param pairs pairs ready for training
/// @param bad records that were skipped
public record PreparedBatch(List<PreparedPair> pairs, List<BadPair> bad) {}
