package org.smpo.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.smpo.report.Chart;

/// Charts of how scores are distributed over a model's images.
final class ReportDistributions {
    private static final double[] NONE = {};
    private static final int BINS = 24;

    private final ReportData data;

    ReportDistributions(ReportData data) {
        this.data = data;
    }

    /// Returns a chart per metric: shares of right images for a verdict, histograms for scores.
    List<Chart> charts() {
        List<Chart> charts = new ArrayList<>();
        for (int m = 0; m < data.metrics().size(); m++) {
            Metric.Source metric = data.metrics().get(m);
            charts.add(metric.isVerdict() ? rightShares(metric) : histogram(metric, m));
        }
        return charts;
    }

    private Chart rightShares(Metric.Source metric) {
        List<Interval> means = data.models().stream()
                .map(model -> data.mean(metric, model).times(100))
                .toList();
        return new Chart(
                Chart.Kind.SHARES,
                "Images judged right by " + metric.name(),
                "Share of each model's images that match the prompt in every respect, with " + data.level()
                        + " intervals.",
                "% right",
                "",
                data.models().stream().map(EvaluatedModel::name).toList(),
                List.of(new Chart.Series(
                        "right",
                        3,
                        false,
                        NONE,
                        means.stream().mapToDouble(Interval::estimate).toArray(),
                        means.stream().mapToDouble(Interval::low).toArray(),
                        means.stream().mapToDouble(Interval::high).toArray())),
                Double.NaN);
    }

    private Chart histogram(Metric.Source metric, int index) {
        double[][] values = IntStream.range(0, data.models().size())
                .mapToObj(model -> data.results().values(index, model))
                .toArray(double[][]::new);
        double least =
                Arrays.stream(values).flatMapToDouble(Arrays::stream).min().orElseThrow();
        double most =
                Arrays.stream(values).flatMapToDouble(Arrays::stream).max().orElseThrow();
        double width = most > least ? (most - least) / BINS : 1;
        List<Chart.Series> series = new ArrayList<>();
        for (int model = 0; model < values.length; model++) {
            double[] share = new double[BINS];
            for (double value : values[model]) {
                share[Math.clamp((int) ((value - least) / width), 0, BINS - 1)] += 100.0 / values[model].length;
            }
            double[] middle = IntStream.range(0, BINS)
                    .mapToDouble(bin -> least + (bin + 0.5) * width)
                    .toArray();
            series.add(new Chart.Series(data.models().get(model).name(), model, model == 0, middle, share, NONE, NONE));
        }
        return new Chart(
                Chart.Kind.OUTLINES,
                "Scores by " + metric.name(),
                "Share of each model's images by score"
                        + (data.compares()
                                ? "; the dashed line is " + data.base().name() + "."
                                : "."),
                metric.name(),
                "% of images",
                List.of(),
                series,
                Double.NaN);
    }
}
