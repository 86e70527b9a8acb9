package org.smpo.evaluate;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/// Paired comparison of two models by one metric, image by image, from the same prompts and noise.
///
/// @param metric name of the metric
/// @param model name of the model
/// @param against name of the model that it is compared with
/// @param category category of the prompts; null: all prompts
/// @param prompts number of prompts
/// @param images number of images per model
/// @param wins number of images where `model` scores above `against`
/// @param ties number of images where both score the same
/// @param losses number of images where `model` scores below `against`
/// @param winRate share of wins; ties count half
/// @param meanDifference mean of `model` minus `against`
/// @param medianDifference median of `model` minus `against`
public record Comparison(
        String metric,
        String model,
        String against,
        String category,
        int prompts,
        int images,
        int wins,
        int ties,
        int losses,
        Interval winRate,
        Interval meanDifference,
        Interval medianDifference) {

    /// Compares the scores of two models.
    ///
    /// @param values scores of `model`, one per image
    /// @param base scores of `against`, of the same images
    /// @param promptOf number of each image's prompt
    static Comparison of(
            String metric,
            String model,
            String against,
            String category,
            double[] values,
            double[] base,
            int[] promptOf,
            Bootstrap bootstrap) {
        double[] differences = new double[values.length];
        for (int i = 0; i < values.length; i++) {
            differences[i] = values[i] - base[i];
        }
        ClusteredSample sample = new ClusteredSample(differences, promptOf);
        return new Comparison(
                metric,
                model,
                against,
                category,
                sample.prompts(),
                differences.length,
                (int) Arrays.stream(differences).filter(d -> d > 0).count(),
                (int) Arrays.stream(differences).filter(d -> d == 0).count(),
                (int) Arrays.stream(differences).filter(d -> d < 0).count(),
                bootstrap.interval(sample.prompts(), sample::winRate),
                bootstrap.interval(sample.prompts(), sample::mean),
                bootstrap.interval(sample.prompts(), sample::median));
    }

    Map<String, Object> json() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("measure", metric);
        json.put("model", model);
        json.put("against", against);
        json.put("category", category);
        json.put("prompts", prompts);
        json.put("pictures", images);
        json.put("wins", wins);
        json.put("ties", ties);
        json.put("losses", losses);
        json.put("win_rate", winRate.json());
        json.put("mean_difference", meanDifference.json());
        json.put("median_difference", medianDifference.json());
        return json;
    }
}
