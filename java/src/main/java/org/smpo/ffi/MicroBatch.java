package org.smpo.ffi;

import java.util.OptionalDouble;

/// Some pairs of a [PairBatch], which are computed at once.
///
/// @param firstPair index of the first pair
/// @param pairs number of pairs
/// @param backward whether gradients are added to those of the policy
/// @param gradientScale factor of the loss sum and of gradients: 1 / (pairs of the whole step) gives means
/// @param label per pair: SmPO's p, CaPO's difference of rewards; null for a loss that reads none
/// @param logitScale factor of the loss's strength per pair; null: 1
/// @param weight factor of loss and gradients per pair; null: 1. DoRA's row factors and importance weights come
///     in here.
/// @param meanGain mean gain of a larger batch for KTO; empty: that of these pairs
@SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
public record MicroBatch(
        int firstPair,
        int pairs,
        boolean backward,
        double gradientScale,
        double[] label,
        double[] logitScale,
        double[] weight,
        OptionalDouble meanGain) {

    /// @throws InvalidArgumentException when an array does not have one number for each pair
    public MicroBatch {
        require("label", label, pairs);
        require("logitScale", logitScale, pairs);
        require("weight", weight, pairs);
    }

    private static void require(String name, double[] values, int pairs) {
        if (values != null && values.length != pairs) {
            throw new InvalidArgumentException(
                    "MicroBatch: " + name + ": expected " + pairs + " numbers, got " + values.length, 0);
        }
    }
}
