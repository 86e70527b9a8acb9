package org.smpo.evaluate;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/// Values of images, grouped by prompt. Its statistics are functions of how often each prompt counts, as
/// [Bootstrap] needs them.
final class ClusteredSample {
    private final double[] values;
    private final int[] prompts;
    private final int count;
    private final int[] order;

    /// Creates a sample.
    ///
    /// @param values value of each image
    /// @param prompts number of each image's prompt; any numbers, equal for images of one prompt
    ClusteredSample(double[] values, int[] prompts) {
        this.values = values.clone();
        int[] distinct = Arrays.stream(prompts).distinct().toArray();
        Arrays.sort(distinct);
        this.count = distinct.length;
        this.prompts = Arrays.stream(prompts)
                .map(prompt -> Arrays.binarySearch(distinct, prompt))
                .toArray();
        this.order = IntStream.range(0, values.length)
                .boxed()
                .sorted(Comparator.comparingDouble(i -> values[i]))
                .mapToInt(Integer::intValue)
                .toArray();
    }

    /// Returns the number of prompts.
    int prompts() {
        return count;
    }

    /// Returns the number of images.
    int images() {
        return values.length;
    }

    /// Returns the mean over images.
    double mean(int[] times) {
        double sum = 0;
        long weight = 0;
        for (int i = 0; i < values.length; i++) {
            int often = times[prompts[i]];
            sum += often * values[i];
            weight += often;
        }
        return weight == 0 ? Double.NaN : sum / weight;
    }

    /// Returns the median over images: the middle value, or the mean of the middle two.
    double median(int[] times) {
        long weight = 0;
        for (int prompt : prompts) {
            weight += times[prompt];
        }
        if (weight == 0) {
            return Double.NaN;
        }
        long lower = (weight - 1) / 2;
        long upper = weight / 2;
        double first = Double.NaN;
        long passed = 0;
        for (int i : order) {
            long until = passed + times[prompts[i]];
            if (Double.isNaN(first) && until > lower) {
                first = values[i];
            }
            if (until > upper) {
                return first == values[i] ? first : (first + values[i]) / 2;
            }
            passed = until;
        }
        throw new IllegalStateException("the middle of " + weight + " values is among them");
    }

    /// Returns the share of values above 0, for values that are differences; those at 0 count half.
    double winRate(int[] times) {
        // Counting halves as integers makes the win rate of ties alone exactly one half.
        long halves = 0;
        long weight = 0;
        for (int i = 0; i < values.length; i++) {
            int often = times[prompts[i]];
            halves += (long) often * (values[i] > 0 ? 2 : values[i] == 0 ? 1 : 0);
            weight += often;
        }
        return weight == 0 ? Double.NaN : halves / (2.0 * weight);
    }
}
