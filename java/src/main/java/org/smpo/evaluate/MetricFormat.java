package org.smpo.evaluate;

/// How a report writes values of one metric: verdicts in percent, scores with as many digits as resolve a
/// hundredth of the spread between images.
final class MetricFormat {
    private static final int DIGITS_OF_CONSTANTS = 4;
    private static final int MOST_DIGITS = 8;

    private final Metric.Source metric;
    private final int digits;

    private MetricFormat(Metric.Source metric, int digits) {
        this.metric = metric;
        this.digits = digits;
    }

    static MetricFormat of(Metric.Source metric, EvaluationResult result) {
        return new MetricFormat(metric, metric.isVerdict() ? 1 : digits(metric, result));
    }

    private static int digits(Metric.Source metric, EvaluationResult result) {
        double spread = result.summaries().stream()
                .filter(found -> found.metric().equals(metric.name()) && found.category() == null)
                .mapToDouble(MetricSummary::standardDeviation)
                .max()
                .orElse(0);
        return spread > 0
                ? Math.clamp((int) (2 - Math.floor(Math.log10(spread))), 0, MOST_DIGITS)
                : DIGITS_OF_CONSTANTS;
    }

    private double scale() {
        return metric.isVerdict() ? 100 : 1;
    }

    /// Returns the metric's name with its unit, for a heading.
    String heading() {
        return metric.name() + (metric.isVerdict() ? " (% right)" : "");
    }

    /// Returns a value without its interval.
    String value(double value) {
        return Interval.number(scale() * value, digits);
    }

    /// Returns a value with its interval.
    String value(Interval interval) {
        return interval.times(scale()).text(digits);
    }

    /// Returns a difference with its sign and interval.
    String difference(Interval interval) {
        return interval.times(scale()).signed(digits);
    }

    /// Returns a share in percent with its interval.
    static String percent(Interval share) {
        return share.times(100).text(1);
    }
}
