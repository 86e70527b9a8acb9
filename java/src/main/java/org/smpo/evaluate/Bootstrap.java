package org.smpo.evaluate;

import java.util.Arrays;
import java.util.function.ToDoubleFunction;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Percentile bootstrap intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
/// 13). Prompts are resampled rather than images, since images of one prompt are not independent.
///
/// Every statistic over the same number of prompts uses the same resamples: resample r takes its random
/// numbers from the stream of (seed, [Purpose#BOOTSTRAP], number of prompts, r).
///
/// @param seed seed of the resamples
/// @param resamples number of resamples; the ends of an interval are quantiles among them
/// @param confidence confidence level of the intervals, for instance 0.95
public record Bootstrap(long seed, int resamples, double confidence) {
    /// @throws IllegalArgumentException when there are no resamples or the confidence is not between 0 and
    ///     1
    public Bootstrap {
        if (resamples < 1) {
            throw new IllegalArgumentException("bootstrap resamples: expected 1 or more, got " + resamples);
        }
        if (!(confidence > 0 && confidence < 1)) {
            throw new IllegalArgumentException("confidence: expected between 0 and 1, got " + confidence);
        }
    }

    /// Returns 95 % intervals from 2000 resamples.
    public static Bootstrap standard() {
        return new Bootstrap(0, 2000, 0.95);
    }

    /// Returns the interval of a statistic.
    ///
    /// @param prompts number of prompts
    /// @param statistic statistic as a function of how often each prompt counts; NaN where it is undefined
    Interval interval(int prompts, ToDoubleFunction<int[]> statistic) {
        int[] once = new int[prompts];
        Arrays.fill(once, 1);
        double estimate = statistic.applyAsDouble(once);
        double[] found = new double[resamples];
        int defined = 0;
        Philox philox = new Philox(seed);
        int[] times = new int[prompts];
        for (int resample = 0; resample < resamples; resample++) {
            Arrays.fill(times, 0);
            PhiloxStream random = philox.stream(Purpose.BOOTSTRAP, prompts, resample);
            for (int draw = 0; draw < prompts; draw++) {
                times[random.nextInt(prompts)]++;
            }
            double value = statistic.applyAsDouble(times);
            if (!Double.isNaN(value)) {
                found[defined++] = value;
            }
        }
        // A statistic that is undefined in most resamples has no meaningful interval.
        if (2 * defined <= resamples) {
            return new Interval(estimate, Double.NaN, Double.NaN);
        }
        double[] sorted = Arrays.copyOf(found, defined);
        Arrays.sort(sorted);
        double tail = (1 - confidence) / 2;
        return new Interval(estimate, quantile(sorted, tail), quantile(sorted, 1 - tail));
    }

    /// Returns a quantile by linear interpolation between neighbours (type 7 of Hyndman and Fan, 1996).
    static double quantile(double[] sorted, double share) {
        double at = share * (sorted.length - 1);
        int below = (int) Math.floor(at);
        int above = Math.min(below + 1, sorted.length - 1);
        double low = sorted[below];
        double high = sorted[above];
        // Interpolating between equal neighbours could round.
        return low == high ? low : low + (at - below) * (high - low);
    }
}
