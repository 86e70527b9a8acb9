package org.smpo.evaluate;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/// One model beside another by one metric: image by image, of the same prompt and the same noise.
///
/// @param metric its name
/// @param model that is looked at
/// @param against that it is compared with
/// @param category of prompts; null: all of them
/// @param prompts how many
/// @param images of each model
/// @param wins images where `model` is above `against`
/// @param ties where both are equal
/// @param losses where it is below
/// @param winRate share of wins, ties counted half
/// @param meanDifference `model` less `against`
/// @param medianDifference likewise
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

    /// Compares.
    ///
    /// @param values of `model`, one for each image
    /// @param base of `against`, of the same images
    /// @param promptOf which prompt each image is of
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
