package org.smpo.ffi;

import java.util.Arrays;

/// DDIM inversion of a batch's images as numbers, as `org.smpo.schedule.InversionPlan` computes them: the steps of
/// image r are `rowStart[r]` to `rowStart[r + 1]`, end excluded.
///
/// @param inversionBatch images in one UNet evaluation, 1 to 65535
/// @param timestep of every step, as are the next four
/// @param targetSample of every image
/// @param targetClean of every image
@SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
public record InversionTable(
        int inversionBatch,
        int[] rowStart,
        double[] timestep,
        double[] sample,
        double[] output,
        double[] noise,
        boolean[] averages,
        double[] targetSample,
        double[] targetClean) {

    /// @throws InvalidArgumentException when lengths do not fit one another
    public InversionTable {
        int rows = targetSample.length;
        int steps = timestep.length;
        if (targetClean.length != rows) {
            throw new InvalidArgumentException(
                    "InversionTable: targetClean: expected " + rows + " numbers, got " + targetClean.length, 0);
        }
        if (rowStart.length != rows + 1 || rowStart[rows] != steps) {
            throw new InvalidArgumentException(
                    "InversionTable: rowStart: expected " + (rows + 1) + " entries up to " + steps + ", got "
                            + Arrays.toString(rowStart),
                    0);
        }
        if (sample.length != steps || output.length != steps || noise.length != steps || averages.length != steps) {
            throw new InvalidArgumentException("InversionTable: expected " + steps + " numbers of every kind", 0);
        }
    }
}
