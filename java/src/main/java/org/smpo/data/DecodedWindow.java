package org.smpo.data;

import java.util.List;

/// The pairs of a window, and the records that turned out bad; both in the window's order.
///
/// @param pairs ready for training
/// @param bad skipped
public record DecodedWindow(List<DecodedPair> pairs, List<BadPair> bad) {}
