package org.smpo.ffi;

import java.util.OptionalDouble;

/// Pairs of a [PairBatch] that are computed together.
///
/// @param firstPair Index of the first pair
/// @param pairs Number of pairs
/// @param backward Whether gradients are added to those of the policy
/// @param gradientScale Factor of the loss sum and of the gradients: 1 / (pairs of the whole step) gives
///     means
/// @param label Label per pair: SmPO's p or CaPO's difference of rewards; null for a loss that uses none
/// @param logitScale Factor of the loss's strength per pair; null: 1
/// @param weight Factor of loss and gradients per pair; null: 1. It carries DoRA's row factors and
///     importance weights.
/// @param meanGain Mean gain of a larger batch for KTO; empty: the mean gain of these pairs
/// @param desirable Whether each single image is desirable; null for pairs and for losses other than KTO
/// @param errorScale Factor of each single image's differences, for the pseudo-Huber loss; null: 1
@SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
public record MicroBatch(
        int firstPair,
        int pairs,
        boolean backward,
        double gradientScale,
        double[] label,
        double[] logitScale,
        double[] weight,
        OptionalDouble meanGain,
        boolean[] desirable,
        double[] errorScale) {

    /// Checks the array lengths.
    ///
    /// @throws InvalidArgumentException when the length of an array differs from the number of pairs
    public MicroBatch {
        require("label", label, pairs);
        require("logitScale", logitScale, pairs);
        require("weight", weight, pairs);
        require("errorScale", errorScale, pairs);
        if (desirable != null && desirable.length != pairs) {
            throw new InvalidArgumentException(
                    "MicroBatch: desirable: expected " + pairs + " flags, got " + desirable.length, 0);
        }
    }

    /// A micro-batch of pairs.
    public MicroBatch(
            int firstPair,
            int pairs,
            boolean backward,
            double gradientScale,
            double[] label,
            double[] logitScale,
            double[] weight,
            OptionalDouble meanGain) {
        this(firstPair, pairs, backward, gradientScale, label, logitScale, weight, meanGain, null, null);
    }

    private static void require(String name, double[] values, int pairs) {
        if (values != null && values.length != pairs) {
            throw new InvalidArgumentException(
                    "MicroBatch: " + name + ": expected " + pairs + " numbers, got " + values.length, 0);
        }
    }
}
