package org.smpo.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/// Agreement of a metric with a judge that calls images right or wrong: how good a training signal the
/// metric is.
///
/// @param metric name of the metric
/// @param judge name of the judge
/// @param model name of the model whose images are compared; null: all models
/// @param images number of images
/// @param right number of images that the judge calls right
/// @param areaUnderCurve area under the ROC curve: the probability that the metric scores a right image
///     above a wrong one, whatever their prompts; ties count half
/// @param samePrompt the same probability among images of one prompt
/// @param samePromptPairs number of pairs of a right and a wrong image of one prompt
/// @param accuracy accuracy of the metric with a threshold; the threshold for each half of the prompts is
///     fitted on the other half
public record Agreement(
        String metric,
        String judge,
        String model,
        int images,
        int right,
        Interval areaUnderCurve,
        Interval samePrompt,
        long samePromptPairs,
        Interval accuracy) {

    /// Computes the agreement.
    ///
    /// @param values scores of the metric, one per image
    /// @param verdicts verdicts of the judge, 1 or 0
    /// @param promptOf number of each image's prompt
    static Agreement of(
            String metric,
            String judge,
            String model,
            double[] values,
            double[] verdicts,
            int[] promptOf,
            Bootstrap bootstrap) {
        int[] distinct = Arrays.stream(promptOf).distinct().sorted().toArray();
        int[] prompts = Arrays.stream(promptOf)
                .map(prompt -> Arrays.binarySearch(distinct, prompt))
                .toArray();
        int[] order = IntStream.range(0, values.length)
                .boxed()
                .sorted(Comparator.comparingDouble(i -> values[i]))
                .mapToInt(Integer::intValue)
                .toArray();
        double[][] pairs = samePrompt(values, verdicts, prompts, distinct.length);
        ClusteredSample hits = new ClusteredSample(hits(values, verdicts, prompts, order), prompts);
        return new Agreement(
                metric,
                judge,
                model,
                values.length,
                (int) Arrays.stream(verdicts).filter(verdict -> verdict == 1).count(),
                bootstrap.interval(distinct.length, times -> area(values, verdicts, prompts, order, times)),
                bootstrap.interval(distinct.length, times -> ratio(pairs, times)),
                (long) Arrays.stream(pairs).mapToDouble(pair -> pair[1]).sum(),
                bootstrap.interval(distinct.length, hits::mean));
    }

    /// Returns the Mann-Whitney U statistic over its maximum, in one pass over the sorted values.
    private static double area(double[] values, double[] verdicts, int[] prompts, int[] order, int[] times) {
        double below = 0;
        double above = 0;
        double wrongs = 0;
        double rights = 0;
        for (int from = 0; from < order.length; ) {
            int to = from;
            double right = 0;
            double wrong = 0;
            while (to < order.length && values[order[to]] == values[order[from]]) {
                int often = times[prompts[order[to]]];
                if (verdicts[order[to]] == 1) {
                    right += often;
                } else {
                    wrong += often;
                }
                to++;
            }
            below += right * wrongs;
            above += right * wrong / 2;
            rights += right;
            wrongs += wrong;
            from = to;
        }
        return rights == 0 || wrongs == 0 ? Double.NaN : (below + above) / (rights * wrongs);
    }

    /// Returns, per prompt, the number of pairs in which the right image scores higher (ties count half)
    /// and of all pairs.
    private static double[][] samePrompt(double[] values, double[] verdicts, int[] prompts, int count) {
        double[][] pairs = new double[count][2];
        List<List<Integer>> images = Stream.generate(() -> (List<Integer>) new ArrayList<Integer>())
                .limit(count)
                .toList();
        IntStream.range(0, values.length).forEach(i -> images.get(prompts[i]).add(i));
        for (int prompt = 0; prompt < count; prompt++) {
            for (int i : images.get(prompt)) {
                for (int j : images.get(prompt)) {
                    if (verdicts[i] == 1 && verdicts[j] != 1) {
                        pairs[prompt][0] += values[i] > values[j] ? 1 : values[i] == values[j] ? 0.5 : 0;
                        pairs[prompt][1]++;
                    }
                }
            }
        }
        return pairs;
    }

    private static double ratio(double[][] pairs, int[] times) {
        double won = 0;
        double all = 0;
        for (int i = 0; i < pairs.length; i++) {
            won += times[i] * pairs[i][0];
            all += times[i] * pairs[i][1];
        }
        return all == 0 ? Double.NaN : won / all;
    }

    /// Returns 1 for each image where the threshold fitted on the other half of the prompts agrees with the
    /// judge, else 0; NaN with fewer than two prompts.
    private static double[] hits(double[] values, double[] verdicts, int[] prompts, int[] order) {
        double[] hits = new double[values.length];
        for (int half : List.of(0, 1)) {
            double threshold = threshold(values, verdicts, prompts, order, 1 - half);
            for (int i = 0; i < values.length; i++) {
                if (prompts[i] % 2 == half) {
                    boolean says = values[i] >= threshold;
                    hits[i] = Double.isNaN(threshold) ? Double.NaN : says == (verdicts[i] == 1) ? 1 : 0;
                }
            }
        }
        return hits;
    }

    /// Returns the threshold that agrees with the judge most often: the lowest such, halfway between two
    /// values.
    private static double threshold(double[] values, double[] verdicts, int[] prompts, int[] order, int half) {
        int[] own = Arrays.stream(order).filter(i -> prompts[i] % 2 == half).toArray();
        if (own.length == 0) {
            return Double.NaN;
        }
        // At the lowest threshold every image counts as right; raising it past an image changes the count by one.
        long agreeing = Arrays.stream(own).filter(i -> verdicts[i] == 1).count();
        long best = agreeing;
        double threshold = Double.NEGATIVE_INFINITY;
        for (int at = 0; at < own.length; at++) {
            agreeing += verdicts[own[at]] == 1 ? -1 : 1;
            boolean last = at + 1 == own.length;
            if ((last || values[own[at + 1]] > values[own[at]]) && agreeing > best) {
                best = agreeing;
                threshold = last ? Double.POSITIVE_INFINITY : (values[own[at]] + values[own[at + 1]]) / 2;
            }
        }
        return threshold;
    }

    Map<String, Object> json() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("measure", metric);
        json.put("judge", judge);
        json.put("model", model);
        json.put("pictures", images);
        json.put("right", right);
        json.put("area_under_curve", areaUnderCurve.json());
        json.put("same_prompt", samePrompt.json());
        json.put("same_prompt_pairs", samePromptPairs);
        json.put("accuracy", accuracy.json());
        return json;
    }
}
