package org.smpo.evaluate;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import org.smpo.report.Chart;
import org.smpo.report.RunLog;

/// Charts of training runs, from their logs.
final class TrainingCurves {
    /// Most points of a curve; longer runs are averaged over neighbouring steps.
    private static final int POINTS = 120;

    private static final double[] NONE = {};

    private final List<Run> runs = new ArrayList<>();

    private record Run(String name, int colour, List<Map<String, Object>> steps, List<Map<String, Object>> heldOut) {}

    /// Adds the run of a model.
    ///
    /// @param colour index of the model's colour
    void add(EvaluatedModel model, int colour) throws IOException {
        List<Map<String, Object>> log = RunLog.read(model.run().orElseThrow().log());
        runs.add(new Run(
                model.name(),
                colour,
                log.stream().filter(event -> "step".equals(event.get("event"))).toList(),
                log.stream()
                        .filter(event -> "evaluation".equals(event.get("event")))
                        .toList()));
    }

    List<Chart> charts() {
        List<Chart> charts = new ArrayList<>();
        charts.add(lines(
                "Loss",
                "Solid: training pairs. Dashed: held-out pairs. Losses of different methods are on different scales.",
                "loss",
                List.of(new Curve("", event -> number(event, "loss"), false))));
        charts.add(lines(
                "Implicit accuracy",
                "Share of pairs in which the winner improved on the reference more than the loser. Dashed: held-out"
                        + " pairs.",
                "%",
                List.of(new Curve("", event -> 100 * number(event, "implicit_accuracy"), false))));
        boolean reference = runs.stream()
                .flatMap(run -> run.steps().stream())
                .anyMatch(event -> event.containsKey("reference_winner_error"));
        if (reference) {
            charts.add(lines(
                    "Errors relative to the reference",
                    "Denoising error of the tuned model minus that of the reference. Below zero is better than the"
                            + " reference; preference tuning often raises both.",
                    "error difference",
                    List.of(
                            new Curve("winners", event -> difference(event, "winner_error"), false),
                            new Curve("losers", event -> difference(event, "loser_error"), true))));
            charts.add(margins());
        }
        return charts;
    }

    private record Curve(String name, ToDoubleFunction<Map<String, Object>> value, boolean dashed) {}

    private Chart lines(String title, String description, String unit, List<Curve> curves) {
        List<Chart.Series> series = new ArrayList<>();
        for (Run run : runs) {
            for (Curve curve : curves) {
                String name = curve.name().isEmpty() ? run.name() : run.name() + ", " + curve.name();
                series.add(series(name, run.colour(), curve.dashed(), run.steps(), curve.value()));
                if (curves.size() == 1 && !run.heldOut().isEmpty()) {
                    series.add(series(name + ", held out", run.colour(), true, run.heldOut(), curve.value()));
                }
            }
        }
        return new Chart(Chart.Kind.LINES, title, description, "step", unit, List.of(), series, Double.NaN);
    }

    private static Chart.Series series(
            String name,
            int colour,
            boolean dashed,
            List<Map<String, Object>> events,
            ToDoubleFunction<Map<String, Object>> value) {
        int width = Math.max(1, Math.ceilDiv(events.size(), POINTS));
        int count = Math.ceilDiv(events.size(), width);
        double[] x = new double[count];
        double[] y = new double[count];
        for (int i = 0; i < count; i++) {
            List<Map<String, Object>> group = events.subList(i * width, Math.min((i + 1) * width, events.size()));
            x[i] = number(group.getLast(), "step");
            y[i] = group.stream().mapToDouble(value).average().orElse(Double.NaN);
        }
        return new Chart.Series(name, colour, dashed, x, y, NONE, NONE);
    }

    /// Returns margins by timestep over the first and the last third of each run.
    private Chart margins() {
        List<Chart.Series> series = new ArrayList<>();
        for (Run run : runs) {
            int third = Math.max(1, run.steps().size() / 3);
            List<Map<String, Object>> steps = run.steps();
            series.add(
                    margins(run.name() + ", first third", run, true, steps.subList(0, Math.min(third, steps.size()))));
            series.add(margins(
                    run.name() + ", last third",
                    run,
                    false,
                    steps.subList(Math.max(0, steps.size() - third), steps.size())));
        }
        return new Chart(
                Chart.Kind.LINES,
                "Margins by timestep",
                "How much more winners improved on the reference than losers, by the timestep of training. Training"
                        + " aims at values above zero.",
                "timestep",
                "margin",
                List.of(),
                series,
                Double.NaN);
    }

    private static Chart.Series margins(String name, Run run, boolean dashed, List<Map<String, Object>> steps) {
        TreeMap<Double, double[]> sums = new TreeMap<>();
        for (Map<String, Object> step : steps) {
            if (step.get("margins") instanceof List<?> buckets) {
                for (Object bucket : buckets) {
                    Map<?, ?> one = (Map<?, ?>) bucket;
                    double pairs = ((Number) one.get("pairs")).doubleValue();
                    double[] sum =
                            sums.computeIfAbsent(((Number) one.get("from")).doubleValue(), from -> new double[2]);
                    sum[0] += pairs * ((Number) one.get("margin")).doubleValue();
                    sum[1] += pairs;
                }
            }
        }
        double[] x = sums.keySet().stream().mapToDouble(Double::doubleValue).toArray();
        double[] y = sums.values().stream().mapToDouble(sum -> sum[0] / sum[1]).toArray();
        return new Chart.Series(name, run.colour(), dashed, x, y, NONE, NONE);
    }

    private static double difference(Map<String, Object> event, String key) {
        return number(event, key) - number(event, "reference_" + key);
    }

    private static double number(Map<String, Object> event, String key) {
        return event.get(key) instanceof Number number ? number.doubleValue() : Double.NaN;
    }

    /// Returns the final numbers of each run.
    List<List<String>> rows() {
        List<List<String>> rows = new ArrayList<>();
        for (Run run : runs) {
            if (!run.steps().isEmpty()) {
                Map<String, Object> last = run.steps().getLast();
                int third = Math.max(1, run.steps().size() / 3);
                double[] accuracy = run
                        .steps()
                        .subList(run.steps().size() - third, run.steps().size())
                        .stream()
                        .mapToDouble(event -> 100 * number(event, "implicit_accuracy"))
                        .toArray();
                rows.add(List.of(
                        run.name(),
                        Interval.number(number(last, "step"), 0),
                        Interval.number(Arrays.stream(accuracy).average().orElse(Double.NaN), 1) + " %"));
            }
        }
        return rows;
    }
}
