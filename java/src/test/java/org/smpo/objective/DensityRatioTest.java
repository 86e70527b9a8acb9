package org.smpo.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

/// Density ratios, with numbers of a script in float64.
final class DensityRatioTest {
    private static DensityRatio ratio(double alpha, Double... betas) {
        return new DensityRatio(alpha, List.of(betas), Double.POSITIVE_INFINITY);
    }

    @Test
    void ratiosAreExact() {
        DensityRatio half = ratio(0.5, 0.5);
        double[][] cases = {{0.05, 0.1}, {0.3, 0.6}, {0.5, 1}, {0.8, 1.6}};
        for (double[] each : cases) {
            assertThat(half.of(each[0])).isCloseTo(each[1], within(1e-12));
        }
        assertThat(ratio(0.25, 0.25, 0.25, 0.25).of(0.9, 0.5, 0.2)).isCloseTo(0.654545454545, within(1e-12));
        assertThat(ratio(0.1, 0.1).of(0.3)).isCloseTo(3, within(1e-12));
        double[] fitted = {
            0.656371207650, 0.569319731937, 0.760661554927, 0.271266900715, 0.299094486462, 0.443286118309
        };
        double[] h = {1.312742415300, 1.138639463875, 1.521323109854, 0.542533801430, 0.598188972924, 0.886572236617};
        for (int i = 0; i < h.length; i++) {
            assertThat(half.of(fitted[i])).isCloseTo(h[i], within(5e-12));
        }
    }

    @Test
    void probabilitiesAndRatiosAreBounded() {
        assertThat(ratio(0.5, 0.5).of(0.999))
                .isEqualTo(ratio(0.5, 0.5).of(0.98))
                .isCloseTo(1.96, within(1e-12));
        assertThat(ratio(0.5, 0.5).of(0)).isCloseTo(0.04, within(1e-12));
        assertThat(DensityRatio.isBeyondBounds(0.99)).isTrue();
        assertThat(DensityRatio.isBeyondBounds(0.98)).isFalse();
        DensityRatio targetOnly = new DensityRatio(0, List.of(1.0), 10);
        assertThat(targetOnly.of(0.8)).isCloseTo(4, within(1e-12));
        assertThat(targetOnly.of(0.95)).isEqualTo(10);
        assertThatThrownBy(() -> targetOnly.of(0.5, 0.5)).hasMessageContaining("expected 1 probabilities, got 2");
        assertThatThrownBy(() -> targetOnly.of(Double.NaN)).hasMessageContaining("probability");
        assertThatThrownBy(() -> ratio(0, 0.0)).hasMessageContaining("not all 0");
        assertThatThrownBy(() -> new DensityRatio(0.5, List.of(0.5), 0)).hasMessageContaining("largest");
    }

    @Test
    void equalWeightsCountAsTheirNumber() {
        assertThat(DensityRatio.effectiveSize(new double[] {1.2, 0.7, 1.1})).isCloseTo(2.866242038217, within(1e-12));
        assertThat(DensityRatio.effectiveSize(new double[] {2, 2, 2})).isEqualTo(3);
        assertThat(DensityRatio.effectiveSize(new double[] {0, 5, 0})).isEqualTo(1);
        assertThat(DensityRatio.effectiveSize(new double[2])).isZero();
    }
}
