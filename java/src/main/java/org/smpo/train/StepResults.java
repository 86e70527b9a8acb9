package org.smpo.train;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.smpo.ffi.InversionReport;
import org.smpo.ffi.PairResults;
import org.smpo.objective.DensityRatio;
import org.smpo.parallel.Frames;

/// The results of one pass over a global batch.
///
/// @param pairs results of each pair
/// @param label the number that the objective reads of each pair; null if it reads none
/// @param logitScale factor of each pair's logit
/// @param desirable whether each single image is desirable; null for pairs, and where the objective does not ask
/// @param weight weight of each pair; null if all are 1
/// @param weightedLoss what was differentiated where pairs have weights: the mean of weight times loss, or DoRA's
///     loss; empty where they have none. Of one of several processes, its share of that
/// @param inversion cost of the inversion; null where nothing was inverted
/// @param noiseSeconds time of the inversion or the forward noise, in seconds
/// @param gradientSeconds time of the forward and backward passes, in seconds
@SuppressWarnings("ArrayRecordComponent") // results of one call, never compared
public record StepResults(
        PairResults pairs,
        double[] label,
        double[] logitScale,
        boolean[] desirable,
        double[] weight,
        OptionalDouble weightedLoss,
        InversionReport inversion,
        double noiseSeconds,
        double gradientSeconds) {
    /// Puts the results of the processes that share a global batch together, in the order of their
    /// ranks. Times and the cost of the inversion are those of this process.
    ///
    /// @param all results of the processes that had pairs, at least one
    /// @param own results of this process; null if it had no pairs
    static StepResults merged(List<StepResults> all, StepResults own) {
        StepResults any = all.getFirst();
        if (all.size() == 1 && own != null) {
            return own;
        }
        PairResults pairs = new PairResults(
                joined(all, one -> one.pairs.policyWinner()),
                joined(all, one -> one.pairs.policyLoser()),
                joined(all, one -> one.pairs.referenceWinner()),
                joined(all, one -> one.pairs.referenceLoser()),
                joined(all, one -> one.pairs.logit()),
                joined(all, one -> one.pairs.loss()),
                all.stream().mapToDouble(one -> one.pairs.lossSum()).reduce(0, Double::sum));
        return new StepResults(
                pairs,
                any.label == null ? null : joined(all, StepResults::label),
                joined(all, StepResults::logitScale),
                any.desirable == null ? null : flags(joined(all, one -> numbers(one.desirable))),
                any.weight == null ? null : joined(all, StepResults::weight),
                any.weightedLoss.isEmpty()
                        ? OptionalDouble.empty()
                        : OptionalDouble.of(all.stream()
                                .mapToDouble(one -> one.weightedLoss.orElseThrow())
                                .sum()),
                own == null ? null : own.inversion,
                own == null ? 0 : own.noiseSeconds,
                own == null ? 0 : own.gradientSeconds);
    }

    private static double[] joined(List<StepResults> all, Function<StepResults, double[]> values) {
        return all.stream().map(values).flatMapToDouble(Arrays::stream).toArray();
    }

    /// Writes what [#merged] needs of the others.
    void write(DataOutputStream out) throws IOException {
        Frames.doubles(out, pairs.policyWinner());
        Frames.doubles(out, pairs.policyLoser());
        Frames.doubles(out, pairs.referenceWinner());
        Frames.doubles(out, pairs.referenceLoser());
        Frames.doubles(out, pairs.logit());
        Frames.doubles(out, pairs.loss());
        out.writeDouble(pairs.lossSum());
        Frames.doubles(out, label);
        Frames.doubles(out, logitScale);
        Frames.doubles(out, numbers(desirable));
        Frames.doubles(out, weight);
        Frames.doubles(out, weightedLoss.stream().toArray());
    }

    static StepResults read(DataInputStream in) throws IOException {
        PairResults pairs = new PairResults(
                Frames.doubles(in),
                Frames.doubles(in),
                Frames.doubles(in),
                Frames.doubles(in),
                Frames.doubles(in),
                Frames.doubles(in),
                in.readDouble());
        return new StepResults(
                pairs,
                Frames.doubles(in),
                Frames.doubles(in),
                flags(Frames.doubles(in)),
                Frames.doubles(in),
                Arrays.stream(Frames.doubles(in)).findFirst(),
                null,
                0,
                0);
    }

    private static double[] numbers(boolean[] flags) {
        return flags == null
                ? null
                : IntStream.range(0, flags.length)
                        .mapToDouble(i -> flags[i] ? 1 : 0)
                        .toArray();
    }

    private static boolean[] flags(double[] numbers) {
        if (numbers == null) {
            return null;
        }
        boolean[] flags = new boolean[numbers.length];
        for (int i = 0; i < flags.length; i++) {
            flags[i] = numbers[i] != 0;
        }
        return flags;
    }

    /// The mean of the pairs' losses, without weights.
    public double loss() {
        return weight == null
                ? pairs.lossSum()
                : Arrays.stream(pairs.loss()).average().orElseThrow();
    }

    /// The number of pairs of equal weight that would say as much as these; empty when pairs have no weights.
    public OptionalDouble effectivePairs() {
        return weight == null ? OptionalDouble.empty() : OptionalDouble.of(DensityRatio.effectiveSize(weight));
    }

    /// Throws if the loss of a pair is not finite.
    ///
    /// @param ids names of the pairs
    /// @param timesteps timestep of each pair's winner, which names the pair
    /// @throws NonFiniteStepException naming the pairs and their timesteps
    void requireFinite(List<String> ids, int[] timesteps) {
        List<String> offending = IntStream.range(0, pairs.loss().length)
                .filter(pair -> !Double.isFinite(pairs.loss()[pair]))
                .mapToObj(pair -> ids.get(pair) + " (t = " + timesteps[pair] + ")")
                .toList();
        if (!offending.isEmpty()) {
            throw new NonFiniteStepException("the loss is not finite for " + String.join(", ", offending));
        }
    }

    /// The share of pairs whose logit is above 0; of single images, the share of desirable ones that the policy has
    /// gained on and of undesirable ones that it has lost on.
    public double implicitAccuracy() {
        double right = 0;
        for (int i = 0; i < pairs.logit().length; i++) {
            right += isRight(i) ? 1 : 0;
        }
        return right / pairs.logit().length;
    }

    /// Whether the policy's preference for a pair or an image is the data's.
    boolean isRight(int index) {
        double logit = pairs.logit()[index];
        return (desirable == null || desirable[index]) ? logit > 0 : logit < 0;
    }
}
