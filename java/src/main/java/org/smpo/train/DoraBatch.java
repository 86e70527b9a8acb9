package org.smpo.train;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.DoubleStream;
import org.smpo.objective.Dora;
import org.smpo.parallel.Frames;
import org.smpo.parallel.Peers;

/// What DoRA reads of a global batch, on every process that shares it.
///
/// @param losses losses of the pairs of all processes, in the order of the global batch
/// @param ratios density ratio of each
/// @param first index of this process's first pair
/// @param own number of this process's pairs
@SuppressWarnings("ArrayRecordComponent") // an intermediate result, never compared
record DoraBatch(double[] losses, double[] ratios, int first, int own) {
    /// Puts the pairs of all processes together.
    ///
    /// @param losses losses of this process's pairs
    /// @param ratios density ratio of each
    static DoraBatch of(Peers peers, double[] losses, double[] ratios) {
        List<double[]> allLosses = new ArrayList<>();
        List<double[]> allRatios = new ArrayList<>();
        for (byte[] bytes : peers.exchange(Frames.write(out -> {
            Frames.doubles(out, losses);
            Frames.doubles(out, ratios);
        }))) {
            Frames.read(bytes, in -> {
                allLosses.add(Frames.doubles(in));
                allRatios.add(Frames.doubles(in));
                return null;
            });
        }
        int first = allLosses.stream()
                .limit(peers.world().rank())
                .mapToInt(part -> part.length)
                .sum();
        return new DoraBatch(joined(allLosses), joined(allRatios), first, losses.length);
    }

    private static double[] joined(List<double[]> parts) {
        return parts.stream().flatMapToDouble(Arrays::stream).toArray();
    }

    /// The weight of each of this process's pairs.
    double[] weights(Dora dora) {
        return Arrays.copyOfRange(dora.weights(losses, ratios), first, first + own);
    }

    /// This process's share, by its number of pairs, of DoRA's loss of the batch.
    ///
    /// @param otherwise the result when a loss is not finite
    double shareOfValue(Dora dora, double otherwise) {
        return DoubleStream.of(losses).allMatch(Double::isFinite)
                ? dora.value(losses, ratios) * ((double) own / losses.length)
                : otherwise;
    }
}
