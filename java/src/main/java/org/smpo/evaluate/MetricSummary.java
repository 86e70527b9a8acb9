package org.smpo.evaluate;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/// One model by one metric.
///
/// @param metric its name
/// @param model that is measured
/// @param category of prompts; null: all of them
/// @param images how many
/// @param mean over images
/// @param median likewise
/// @param standardDeviation of the images, with n - 1; 0 for a single one
/// @param least value
/// @param most value
public record MetricSummary(
        String metric,
        String model,
        String category,
        int images,
        Interval mean,
        Interval median,
        double standardDeviation,
        double least,
        double most) {

    static MetricSummary of(
            String metric, String model, String category, double[] values, int[] promptOf, Bootstrap bootstrap) {
        ClusteredSample sample = new ClusteredSample(values, promptOf);
        Interval mean = bootstrap.interval(sample.prompts(), sample::mean);
        double squares = Arrays.stream(values)
                .map(value -> (value - mean.estimate()) * (value - mean.estimate()))
                .sum();
        return new MetricSummary(
                metric,
                model,
                category,
                values.length,
                mean,
                bootstrap.interval(sample.prompts(), sample::median),
                values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1)),
                Arrays.stream(values).min().orElseThrow(),
                Arrays.stream(values).max().orElseThrow());
    }

    Map<String, Object> json() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("measure", metric);
        json.put("model", model);
        json.put("category", category);
        json.put("pictures", images);
        json.put("mean", mean.json());
        json.put("median", median.json());
        json.put("standard_deviation", standardDeviation);
        json.put("least", least);
        json.put("most", most);
        return json;
    }
}
