package org.smpo.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/// A chart of an [HtmlPage], with a description and a table of its numbers for readers who cannot see it.
///
/// @param kind kind of chart
/// @param title title of a few words
/// @param description one sentence about what the chart shows; also read by screen readers
/// @param xTitle title of the horizontal axis, with its unit
/// @param yTitle title of the vertical axis, with its unit
/// @param labels labels of the bars; empty for lines
/// @param series series to compare
/// @param reference value to mark with a line, such as 50 % of wins; NaN: none
public record Chart(
        Kind kind,
        String title,
        String description,
        String xTitle,
        String yTitle,
        List<String> labels,
        List<Series> series,
        double reference) {
    private static final int SIGNIFICANT = 4;

    /// The kinds of chart.
    public enum Kind {
        /// Shares in percent, 0 to 100: a horizontal bar for each label, with a whisker from low to high.
        SHARES,
        /// A line for each series, over numbers.
        LINES,
        /// Outlines of histograms: a line in steps for each series, over numbers.
        OUTLINES
    }

    /// A series of numbers.
    public static final class Series {
        private final String name;
        private final int colour;
        private final boolean dashed;
        private final double[] x;
        private final double[] y;
        private final double[] low;
        private final double[] high;

        /// @param name name in the legend
        /// @param colour index of one of the page's colours; a model has the same colour in all charts
        /// @param dashed whether the line is dashed, to distinguish two lines of one colour
        /// @param x positions of the values; empty for labelled bars
        /// @param y values; NaN: no value
        /// @param low lower ends of whiskers; empty: none
        /// @param high upper ends of whiskers; empty: none
        /// @throws IllegalArgumentException when the lengths do not match
        public Series(String name, int colour, boolean dashed, double[] x, double[] y, double[] low, double[] high) {
            this.name = name;
            this.colour = colour;
            this.dashed = dashed;
            this.x = x.clone();
            this.y = y.clone();
            this.low = low.clone();
            this.high = high.clone();
            if (x.length != 0 && x.length != y.length) {
                throw new IllegalArgumentException(
                        name + ": expected as many positions as values (" + y.length + "), got " + x.length);
            }
            if (low.length != high.length || (low.length != 0 && low.length != y.length)) {
                throw new IllegalArgumentException(
                        name + ": expected two ends for each value, got " + low.length + " and " + high.length);
            }
        }
    }

    public Chart {
        labels = List.copyOf(labels);
        series = List.copyOf(series);
        for (Series one : series) {
            if (!labels.isEmpty() && one.y.length != labels.size()) {
                throw new IllegalArgumentException(title + ": " + one.name + ": expected a value for each of the "
                        + labels.size() + " labels, got " + one.y.length);
            }
        }
    }

    /// Returns the data for the page's script.
    Map<String, Object> json() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("kind", kind.name());
        json.put("title", title);
        json.put("xTitle", xTitle);
        json.put("yTitle", yTitle);
        json.put("labels", labels);
        json.put("reference", number(reference));
        List<Map<String, Object>> all = new ArrayList<>();
        for (Series one : series) {
            Map<String, Object> each = new LinkedHashMap<>();
            each.put("name", one.name);
            each.put("colour", one.colour);
            each.put("dashed", one.dashed);
            each.put("x", numbers(one.x));
            each.put("y", numbers(one.y));
            each.put("low", numbers(one.low));
            each.put("high", numbers(one.high));
            all.add(each);
        }
        json.put("series", all);
        return json;
    }

    /// Returns null for NaN and infinities, which JSON lacks.
    private static Double number(double value) {
        return Double.isFinite(value) ? value : null;
    }

    private static List<Double> numbers(double[] values) {
        return Arrays.stream(values).mapToObj(Chart::number).toList();
    }

    /// Returns the same numbers as a table.
    HtmlTable table() {
        List<HtmlTable.Column> columns = new ArrayList<>();
        columns.add(labels.isEmpty() ? HtmlTable.Column.number(xTitle) : HtmlTable.Column.text(""));
        for (Series one : series) {
            columns.add(HtmlTable.Column.number(one.name));
            if (one.low.length > 0) {
                columns.add(HtmlTable.Column.number("from"));
                columns.add(HtmlTable.Column.number("to"));
            }
        }
        List<List<String>> rows = new ArrayList<>();
        if (labels.isEmpty()) {
            TreeSet<Double> places = new TreeSet<>();
            series.forEach(one -> Arrays.stream(one.x).forEach(places::add));
            for (double place : places) {
                rows.add(row(short4(place), one -> indexOf(one.x, place)));
            }
        } else {
            for (int i = 0; i < labels.size(); i++) {
                int at = i;
                rows.add(row(labels.get(i), one -> at));
            }
        }
        return new HtmlTable(title, columns, rows);
    }

    private interface Place {
        int in(Series series);
    }

    private List<String> row(String head, Place place) {
        List<String> cells = new ArrayList<>(List.of(head));
        for (Series one : series) {
            int at = place.in(one);
            cells.add(at < 0 ? "" : short4(one.y[at]));
            if (one.low.length > 0) {
                cells.add(at < 0 ? "" : short4(one.low[at]));
                cells.add(at < 0 ? "" : short4(one.high[at]));
            }
        }
        return cells;
    }

    private static int indexOf(double[] values, double wanted) {
        for (int i = 0; i < values.length; i++) {
            if (values[i] == wanted) {
                return i;
            }
        }
        return -1;
    }

    /// Returns a number with four significant digits, without trailing zeros.
    private static String short4(double value) {
        if (!Double.isFinite(value)) {
            return "–";
        }
        if (value == Math.rint(value) && Math.abs(value) < 1e7) {
            return Long.toString((long) value);
        }
        java.math.BigDecimal rounded =
                java.math.BigDecimal.valueOf(value).round(new java.math.MathContext(SIGNIFICANT));
        double size = Math.abs(value);
        return size < 1e-4 || size >= 1e7
                ? rounded.stripTrailingZeros().toString()
                : rounded.stripTrailingZeros().toPlainString();
    }
}
