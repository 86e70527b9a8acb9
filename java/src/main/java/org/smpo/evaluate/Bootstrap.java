package org.smpo.evaluate;

import java.util.Arrays;
import java.util.function.ToDoubleFunction;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Percentile intervals by resampling prompts (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
/// chapter 13; by clusters, since images of one prompt are not independent).
///
/// Whichever figure is asked for, equal numbers of prompts see equal resamples, which are a function of the seed alone:
/// resample r draws from the stream of (seed, [Purpose#BOOTSTRAP], number of prompts, r).
///
/// @param seed of the resamples
/// @param resamples how many; the ends of an interval are quantiles among them
/// @param confidence of the intervals, 0.95 for instance
public record Bootstrap(long seed, int resamples, double confidence) {
    /// @throws IllegalArgumentException when there are no resamples or the confidence is no share
    public Bootstrap {
        if (resamples < 1) {
            throw new IllegalArgumentException("bootstrap resamples: expected 1 or more, got " + resamples);
        }
        if (!(confidence > 0 && confidence < 1)) {
            throw new IllegalArgumentException("confidence: expected between 0 and 1, got " + confidence);
        }
    }

    /// 95 % from 2000 resamples.
    public static Bootstrap standard() {
        return new Bootstrap(0, 2000, 0.95);
    }

    /// The interval of a figure.
    ///
    /// @param prompts how many there are
    /// @param figure of how often each prompt counts; NaN where it is not defined
    Interval interval(int prompts, ToDoubleFunction<int[]> figure) {
        int[] once = new int[prompts];
        Arrays.fill(once, 1);
        double estimate = figure.applyAsDouble(once);
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
            double value = figure.applyAsDouble(times);
            if (!Double.isNaN(value)) {
                found[defined++] = value;
            }
        }
        // A figure that most resamples do not define has no interval worth the name.
        if (2 * defined <= resamples) {
            return new Interval(estimate, Double.NaN, Double.NaN);
        }
        double[] sorted = Arrays.copyOf(found, defined);
        Arrays.sort(sorted);
        double tail = (1 - confidence) / 2;
        return new Interval(estimate, quantile(sorted, tail), quantile(sorted, 1 - tail));
    }

    /// Between two neighbours in proportion (type 7 of Hyndman and Fan, 1996).
    static double quantile(double[] sorted, double share) {
        double at = share * (sorted.length - 1);
        int below = (int) Math.floor(at);
        int above = Math.min(below + 1, sorted.length - 1);
        double low = sorted[below];
        double high = sorted[above];
        // Equal neighbours are the quantile to the last bit.
        return low == high ? low : low + (at - below) * (high - low);
    }
}
