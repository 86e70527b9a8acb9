package org.smpo.ffi;

/// Some pairs of a batch.
///
/// @param firstPair the first of them
/// @param pairs how many
/// @param backward whether gradients are added to those of the policy
/// @param gradientScale factor of the loss sum and of gradients: 1 / (pairs of the whole step) gives means
/// @param label by pair: SmPO's p, CaPO's difference of rewards; else null
/// @param logitScale factor of beta by pair; null: 1
/// @param weight of each pair; null: 1
@SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
public record MicroBatch(
        int firstPair,
        int pairs,
        boolean backward,
        double gradientScale,
        double[] label,
        double[] logitScale,
        double[] weight) {

    /// @throws InvalidArgumentException when an array has not one number for each pair
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
