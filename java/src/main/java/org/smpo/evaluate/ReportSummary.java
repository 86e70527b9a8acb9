package org.smpo.evaluate;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.smpo.report.Chart;
import org.smpo.report.HtmlPage;
import org.smpo.report.HtmlTable;

/// The report's first section: one sentence per comparison, the tables of means and differences, and win
/// rates.
final class ReportSummary {
    private static final double[] NONE = {};
    private static final List<String> COMPARED =
            List.of("Win rate, %", "Mean difference", "Median difference", "Wins / ties / losses");

    private final ReportData data;

    ReportSummary(ReportData data) {
        this.data = data;
    }

    void write(HtmlPage.Section section) {
        for (EvaluatedModel model : data.others()) {
            for (Metric.Source metric : data.metrics()) {
                data.againstBase(metric, model).ifPresent(found -> section.finding(finding(metric, found)));
            }
        }
        data.metrics().forEach(metric -> section.table(overview(metric)));
        if (data.compares()) {
            section.charts(data.metrics().stream().map(this::winRates).toList());
        }
        if (data.models().size() > 2) {
            section.table(othersAmongThemselves());
        }
    }

    private String finding(Metric.Source metric, Comparison found) {
        MetricFormat format = data.format(metric);
        String unit = metric.isVerdict() ? " % right" : "";
        return metric.name() + ": " + found.model() + " " + mean(metric, found.model(), format) + unit + ", "
                + found.against() + " " + mean(metric, found.against(), format) + unit + ", difference "
                + format.difference(found.meanDifference())
                + (metric.isVerdict() ? " percentage points. " : ". ") + verdict(found);
    }

    private String mean(Metric.Source metric, String model, MetricFormat format) {
        return format.value(
                data.result().summary(metric.name(), model).orElseThrow().mean().estimate());
    }

    private static String verdict(Comparison found) {
        if (found.wins() + found.losses() == 0) {
            return "All images score the same.";
        }
        if (found.meanDifference().excludes(0)) {
            return "The interval excludes zero: " + (found.meanDifference().estimate() > 0 ? "better" : "worse")
                    + " by this metric.";
        }
        return "The interval includes zero: no significant difference.";
    }

    private HtmlTable overview(Metric.Source metric) {
        MetricFormat format = data.format(metric);
        List<HtmlTable.Column> columns = columns("Model");
        columns.add(1, HtmlTable.Column.number("Mean"));
        List<List<String>> rows = new ArrayList<>();
        for (EvaluatedModel model : data.models()) {
            List<String> row = new ArrayList<>(List.of(model.name(), format.value(data.mean(metric, model))));
            if (data.compares()) {
                row.addAll(data.againstBase(metric, model)
                        .map(one -> comparison(format, one))
                        .orElse(Collections.nCopies(COMPARED.size(), "")));
            }
            rows.add(row);
        }
        String against = data.compares()
                ? " Differences are relative to " + data.base().name() + "; a tie counts as half a win."
                : "";
        return new HtmlTable(format.heading() + ", with " + data.level() + " intervals." + against, columns, rows);
    }

    private List<HtmlTable.Column> columns(String first) {
        List<HtmlTable.Column> columns = new ArrayList<>(List.of(HtmlTable.Column.text(first)));
        if (data.compares()) {
            COMPARED.forEach(name -> columns.add(HtmlTable.Column.number(name)));
        }
        return columns;
    }

    private static List<String> comparison(MetricFormat format, Comparison one) {
        return List.of(
                MetricFormat.percent(one.winRate()),
                format.difference(one.meanDifference()),
                format.difference(one.medianDifference()),
                one.wins() + " / " + one.ties() + " / " + one.losses());
    }

    private HtmlTable othersAmongThemselves() {
        List<List<String>> rows = new ArrayList<>();
        for (Comparison found : data.result().comparisons()) {
            if (found.category() == null && !found.against().equals(data.base().name())) {
                MetricFormat format = data.format(data.metric(found.metric()));
                List<String> row =
                        new ArrayList<>(List.of(found.model() + " against " + found.against(), format.heading()));
                row.addAll(comparison(format, found));
                rows.add(row);
            }
        }
        List<HtmlTable.Column> columns = columns("Models");
        columns.add(1, HtmlTable.Column.text("Metric"));
        return new HtmlTable("Comparisons without " + data.base().name() + ".", columns, rows);
    }

    private Chart winRates(Metric.Source metric) {
        List<Comparison> all = data.result().comparisons().stream()
                .filter(found -> found.category() == null
                        && found.metric().equals(metric.name())
                        && found.against().equals(data.base().name()))
                .toList();
        return new Chart(
                Chart.Kind.SHARES,
                "Win rate by " + metric.name(),
                "Share of images that score above " + data.base().name()
                        + "'s image of the same prompt and noise; a tie"
                        + " counts as half a win, and the dashed line marks 50 %.",
                "win rate, %",
                "",
                all.stream().map(Comparison::model).toList(),
                List.of(new Chart.Series(
                        "win rate",
                        1,
                        false,
                        NONE,
                        shares(all, Interval::estimate),
                        shares(all, Interval::low),
                        shares(all, Interval::high))),
                50);
    }

    private static double[] shares(List<Comparison> all, ToDoubleFunction<Interval> part) {
        return all.stream()
                .mapToDouble(found -> 100 * part.applyAsDouble(found.winRate()))
                .toArray();
    }
}
