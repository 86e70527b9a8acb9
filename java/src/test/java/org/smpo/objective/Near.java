package org.smpo.objective;

import static org.assertj.core.api.Assertions.assertThat;

/// Comparison of doubles by an error relative to a scale.
final class Near {
    private Near() {}

    /// Asserts |actual − expected| ≤ tolerance · max(|expected|, scale); a NaN never passes.
    static void assertNear(String what, double actual, double expected, double tolerance, double scale) {
        double bound = tolerance * Math.max(Math.abs(expected), scale);
        assertThat(Math.abs(actual - expected) <= bound)
                .as("%s: expected %s, got %s, difference %s > %s", what, expected, actual, actual - expected, bound)
                .isTrue();
    }
}
