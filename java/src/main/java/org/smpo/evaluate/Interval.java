package org.smpo.evaluate;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/// An estimate with its bootstrap interval.
///
/// @param estimate estimate from the data; NaN where it is undefined
/// @param low lower end of the interval; NaN where too few resamples define it
/// @param high upper end of the interval
public record Interval(double estimate, double low, double high) {
    /// Returns whether the whole interval lies on one side of a value.
    public boolean excludes(double value) {
        return low > value || high < value;
    }

    /// Returns the interval scaled by a positive factor, for instance from shares to percent.
    Interval times(double factor) {
        return new Interval(estimate * factor, low * factor, high * factor);
    }

    /// Returns a text such as `0.1 [-0.2, 0.4]`.
    public String text(int digits) {
        return Double.isNaN(estimate) ? "–" : within(digits);
    }

    private String within(int digits) {
        return number(estimate, digits) + " [" + number(low, digits) + ", " + number(high, digits) + "]";
    }

    /// Returns the text with a sign, as differences are written.
    public String signed(int digits) {
        String sign = estimate > 0 ? "+" : "";
        return sign + text(digits);
    }

    static String number(double value, int digits) {
        if (Double.isNaN(value)) {
            return "–";
        }
        String text = String.format(Locale.ROOT, "%." + digits + "f", value);
        // No negative zero, and a minus sign instead of a hyphen.
        boolean zero = text.chars().noneMatch(c -> c >= '1' && c <= '9');
        return zero ? text.replace("-", "") : text.replace('-', '−');
    }

    /// Returns the numbers by the names that reports use; null for those that are undefined.
    public Map<String, Object> json() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("estimate", finite(estimate));
        json.put("low", finite(low));
        json.put("high", finite(high));
        return json;
    }

    /// Returns null for NaN and infinities, which JSON lacks.
    static Double finite(double value) {
        return Double.isFinite(value) ? value : null;
    }
}
