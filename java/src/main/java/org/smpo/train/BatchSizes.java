package org.smpo.train;

/// How many pictures go through the networks at once, chosen from the memory that is free before training starts.
///
/// Sizes are powers of two (the number of pairs may be the step's own): a run on a machine with a little more memory
/// then
/// rounds as this one does, and a GPU keeps few graphs.
///
/// @param microBatch pairs that are differentiated at once
/// @param slots images that are inverted at once
public record BatchSizes(int microBatch, int slots) {
    /// Of what is free, for activations that wait for their backward pass; the rest is for the optimizer's state, which
    /// does not exist yet, for the work inside a layer, and for what pools cannot use.
    private static final double ACTIVATIONS = 0.4;
    /// Likewise for an evaluation without gradients, whose memory is given back before activations are kept.
    private static final double EVALUATION = 0.4;
    /// More does not make a pair faster.
    private static final int MOST_PAIRS = 8;

    private static final int MOST_SLOTS_ON_GPU = 32;

    /// Chooses from what is free.
    ///
    /// @param free bytes
    /// @param pairBytes activations that a pair keeps
    /// @param imageBytes of an evaluation without gradients
    /// @param pairsPerStep 1 or more
    /// @param gpu whether more images at once are faster: on a CPU they are not
    public static BatchSizes of(long free, long pairBytes, long imageBytes, int pairsPerStep, boolean gpu) {
        int microBatch = (int) Math.min(fitting(free * ACTIVATIONS, pairBytes), Math.min(pairsPerStep, MOST_PAIRS));
        long slots = gpu ? Math.min(fitting(free * EVALUATION, imageBytes), MOST_SLOTS_ON_GPU) : 0;
        int images = 2 * pairsPerStep;
        return new BatchSizes(microBatch, (int) Math.min(images, Math.max(slots, 2L * microBatch)));
    }

    /// The largest power of two that fits, at least 1.
    private static long fitting(double bytes, long each) {
        return Long.highestOneBit(Math.max(1, (long) (bytes / Math.max(1, each))));
    }
}
