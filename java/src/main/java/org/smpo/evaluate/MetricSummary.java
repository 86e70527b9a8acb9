package org.smpo.evaluate;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/// Summary statistics of one model by one metric.
///
/// @param metric name of the metric
/// @param model name of the model
/// @param category category of the prompts; null: all prompts
/// @param images number of images
/// @param mean mean over images
/// @param median median over images
/// @param standardDeviation standard deviation over images, with n - 1; 0 for a single image
/// @param least smallest value
/// @param most largest value
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
