package org.smpo.evaluate;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/// An estimate and where the bootstrap puts it.
///
/// @param estimate from the data; NaN where it is not defined
/// @param low the interval's lower end; NaN where too few resamples define it
/// @param high its upper end
public record Interval(double estimate, double low, double high) {
    /// Whether the whole interval is on one side of a value, and the estimate not on it.
    public boolean excludes(double value) {
        return low > value || high < value;
    }

    /// All three by a factor above 0: percent of a share, for instance.
    Interval times(double factor) {
        return new Interval(estimate * factor, low * factor, high * factor);
    }

    /// `0.1 [-0.2, 0.4]`
    String text(int digits) {
        return Double.isNaN(estimate) ? "–" : within(digits);
    }

    private String within(int digits) {
        return number(estimate, digits) + " [" + number(low, digits) + ", " + number(high, digits) + "]";
    }

    /// With a sign, as differences are written.
    String signed(int digits) {
        String sign = estimate > 0 ? "+" : "";
        return sign + text(digits);
    }

    static String number(double value, int digits) {
        if (Double.isNaN(value)) {
            return "–";
        }
        String text = String.format(Locale.ROOT, "%." + digits + "f", value);
        // Rounded to nothing is nothing, on whichever side it was; and a minus is longer than a hyphen.
        boolean zero = text.chars().noneMatch(c -> c >= '1' && c <= '9');
        return zero ? text.replace("-", "") : text.replace('-', '−');
    }

    Map<String, Object> json() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("estimate", finite(estimate));
        json.put("low", finite(low));
        json.put("high", finite(high));
        return json;
    }

    /// JSON has no NaN.
    static Double finite(double value) {
        return Double.isFinite(value) ? value : null;
    }
}
