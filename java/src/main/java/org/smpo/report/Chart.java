package org.smpo.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/// A chart of an [HtmlPage]: what is drawn, in words too, and the numbers as a table for who cannot see it.
///
/// @param kind how the numbers are drawn
/// @param title in a few words
/// @param description what a reader should see in it, a sentence; also what a screen reader says
/// @param xTitle of the horizontal axis, with its unit
/// @param yTitle of the vertical axis, with its unit
/// @param labels of the bars or groups; empty for lines
/// @param series what is compared
/// @param reference a value that a line marks, such as 50 % of wins; NaN: none
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

    /// How numbers are drawn.
    public enum Kind {
        /// Shares in percent, 0 to 100: a horizontal bar for each label, with a whisker from low to high.
        SHARES,
        /// A line for each series, over numbers.
        LINES,
        /// Outlines of histograms: a line in steps for each series, over numbers.
        OUTLINES
    }

    /// Numbers that belong together.
    public static final class Series {
        private final String name;
        private final int colour;
        private final boolean dashed;
        private final double[] x;
        private final double[] y;
        private final double[] low;
        private final double[] high;

        /// @param name in the legend
        /// @param colour which of the page's colours; equal things in several charts take equal ones
        /// @param dashed whether its line is dashed, so that two of one colour can be told apart
        /// @param x where each value stands; empty where labels say it
        /// @param y the values; NaN: none there
        /// @param low ends of whiskers; empty: none
        /// @param high likewise
        /// @throws IllegalArgumentException when the lengths do not fit one another
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
                        name + ": expected as many places as values (" + y.length + "), got " + x.length);
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

    /// What the page's script draws from.
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

    /// JSON has no NaN.
    private static Double number(double value) {
        return Double.isFinite(value) ? value : null;
    }

    private static List<Double> numbers(double[] values) {
        return Arrays.stream(values).mapToObj(Chart::number).toList();
    }

    /// The same numbers as a table.
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

    /// Four digits that count, without zeros at the end.
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
