package org.smpo.schedule;

import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Samples training timesteps as a pure function of (seed, step, place in the global batch), so that
/// micro-batches, ranks and interruptions do not change them. Immutable.
public final class TimestepSampler {
    private final Philox philox;
    private final int low;
    private final int stride;
    private final int count;
    /// Cumulative weights, the last of them 1; null if all are equal.
    private final double[] cumulative;
    /// Whether all pairs of a step have the timestep of its first pair.
    private final boolean shared;

    private TimestepSampler(Philox philox, int low, int stride, int count, double[] cumulative) {
        this(philox, low, stride, count, cumulative, false);
    }

    private TimestepSampler(Philox philox, int low, int stride, int count, double[] cumulative, boolean shared) {
        this.philox = philox;
        this.low = low;
        this.stride = stride;
        this.count = count;
        this.cumulative = cumulative;
        this.shared = shared;
    }

    /// The same distribution, sampled once per optimizer step: all pairs, and both of their images, have the timestep
    /// that the first pair would have.
    public TimestepSampler shared() {
        return new TimestepSampler(philox, low, stride, count, cumulative, true);
    }

    /// Uniform over `low .. end - 1`; 0 to 1000 for a base model, 0 to 200 for SDXL's refiner.
    public static TimestepSampler uniform(long seed, int low, int end) {
        if (low < 0 || end <= low) {
            throw new IllegalArgumentException(
                    "timesteps: expected 0 <= low < end, got low " + low + " and end " + end);
        }
        return new TimestepSampler(new Philox(seed), low, 1, end - low, null);
    }

    /// Uniform over `low, low + stride, ...`, `count` of them; 249, 250, 4 for SDXL Turbo's own timesteps.
    public static TimestepSampler spaced(long seed, int low, int stride, int count) {
        if (low < 0 || stride < 1 || count < 1) {
            throw new IllegalArgumentException("timesteps: expected low >= 0, stride >= 1 and count >= 1, got low "
                    + low + ", stride " + stride + " and count " + count);
        }
        Math.addExact(low, Math.multiplyExact(stride, count - 1));
        return new TimestepSampler(new Philox(seed), low, stride, count, null);
    }

    /// Timestep t with a probability in proportion to `weights[t]`.
    public static TimestepSampler weighted(long seed, double[] weights) {
        double total = 0;
        for (int t = 0; t < weights.length; t++) {
            if (!(weights[t] >= 0 && weights[t] < Double.POSITIVE_INFINITY)) {
                throw new IllegalArgumentException(
                        "weights[" + t + "]: expected a finite number of 0 or more, got " + weights[t]);
            }
            total += weights[t];
        }
        if (!(total > 0)) {
            throw new IllegalArgumentException("weights: expected a sum above 0, got " + total);
        }
        double[] cumulative = new double[weights.length];
        double sum = 0;
        int lastPossible = 0;
        for (int t = 0; t < weights.length; t++) {
            sum += weights[t];
            cumulative[t] = sum / total;
            lastPossible = weights[t] > 0 ? t : lastPossible;
        }
        for (int t = lastPossible; t < cumulative.length; t++) {
            cumulative[t] = 1;
        }
        return new TimestepSampler(new Philox(seed), 0, 1, weights.length, cumulative);
    }

    /// The timesteps of pairs `0 .. pairs - 1` of an optimizer step.
    public int[] draw(long step, int pairs) {
        return draw(step, 0, pairs);
    }

    /// The timesteps of pairs `firstPair .. firstPair + pairs - 1` of an optimizer step; a rank samples its
    /// own.
    public int[] draw(long step, long firstPair, int pairs) {
        int[] timesteps = new int[pairs];
        for (int i = 0; i < pairs; i++) {
            timesteps[i] = draw(philox.stream(Purpose.TIMESTEPS, step, shared ? 0 : firstPair + i));
        }
        return timesteps;
    }

    /// The timesteps of the images of some pairs of an optimizer step: all winners', then all losers'.
    ///
    /// @param places place of each pair in the global batch
    /// @param perImage whether each image has a timestep of its own, numbered by twice its pair's place and,
    ///     for the loser, one more; otherwise both images have the pair's
    public int[] ofImages(long step, int[] places, boolean perImage) {
        int pairs = places.length;
        int[] timesteps = new int[2 * pairs];
        for (int i = 0; i < pairs; i++) {
            int[] both = perImage ? draw(step, 2L * places[i], 2) : draw(step, places[i], 1);
            timesteps[i] = both[0];
            timesteps[pairs + i] = both[both.length - 1];
        }
        return timesteps;
    }

    private int draw(PhiloxStream stream) {
        if (cumulative == null) {
            return low + stride * stream.nextInt(count);
        }
        double u = stream.nextDouble();
        int t = 0;
        int end = cumulative.length - 1;
        // The first entry above u; entries of weight 0 equal the one before and are never it.
        while (t < end) {
            int middle = (t + end) >>> 1;
            if (cumulative[middle] > u) {
                end = middle;
            } else {
                t = middle + 1;
            }
        }
        return t;
    }
}
