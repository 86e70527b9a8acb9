package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

class TimestepSamplerTest {
    private static final int DRAWS = 200_000;

    /// Quantile of the chi-square distribution with 99 degrees of freedom that one run in a million exceeds.
    private static final double CHI_SQUARE_99_AT_ONE_IN_A_MILLION = 177.0;

    /// Chi-square statistic of the counts in 100 equal ranges of 0 .. 999 against expected shares.
    private static double chiSquare(int[] timesteps, double[] shares) {
        double[] counts = new double[100];
        for (int t : timesteps) {
            counts[t / 10]++;
        }
        return IntStream.range(0, 100)
                .mapToDouble(
                        i -> Math.pow(counts[i] - shares[i] * timesteps.length, 2) / (shares[i] * timesteps.length))
                .sum();
    }

    private static double[] evenly() {
        double[] shares = new double[100];
        Arrays.fill(shares, 0.01);
        return shares;
    }

    @Test
    void uniformDrawsAreUniform() {
        int[] drawn = TimestepSampler.uniform(7, 0, 1000).draw(3, DRAWS);
        assertThat(Arrays.stream(drawn).min()).hasValue(0);
        assertThat(Arrays.stream(drawn).max()).hasValue(999);
        assertThat(chiSquare(drawn, evenly())).isLessThan(CHI_SQUARE_99_AT_ONE_IN_A_MILLION);
        // Moving one in twenty draws to the lower half does not pass.
        int[] mutated = drawn.clone();
        for (int i = 0; i < mutated.length; i += 20) {
            mutated[i] /= 2;
        }
        assertThat(chiSquare(mutated, evenly())).isGreaterThan(CHI_SQUARE_99_AT_ONE_IN_A_MILLION);
    }

    @Test
    void drawsOverStepsAreUniformToo() {
        TimestepSampler sampler = TimestepSampler.uniform(7, 0, 1000);
        int[] drawn = IntStream.range(0, DRAWS / 4)
                .flatMap(step -> Arrays.stream(sampler.draw(step, 4)))
                .toArray();
        assertThat(chiSquare(drawn, evenly())).isLessThan(CHI_SQUARE_99_AT_ONE_IN_A_MILLION);
    }

    @Test
    void drawsArePureFunctionsOfSeedStepAndPair() {
        TimestepSampler sampler = TimestepSampler.uniform(7, 0, 1000);
        int[] window = sampler.draw(12, 1024);
        assertThat(TimestepSampler.uniform(7, 0, 1000).draw(12, 1024)).isEqualTo(window);
        assertThat(sampler.draw(12, 100, 50)).isEqualTo(Arrays.copyOfRange(window, 100, 150));
        assertThat(sampler.draw(13, 1024)).isNotEqualTo(window);
        assertThat(TimestepSampler.uniform(8, 0, 1000).draw(12, 1024)).isNotEqualTo(window);
        Philox philox = new Philox(7);
        for (int pair = 0; pair < window.length; pair++) {
            assertThat(window[pair]).isEqualTo(philox.uniformInt(Purpose.TIMESTEPS, 12, pair, 1000));
        }
    }

    /// Pins the stream, because a change would alter every run.
    @Test
    void firstDrawsOfSeedZeroStay() {
        assertThat(TimestepSampler.uniform(0, 0, 1000).draw(0, 8))
                .containsExactly(566, 586, 266, 301, 189, 879, 304, 122);
    }

    @Test
    void boundsHold() {
        int[] refiner = TimestepSampler.uniform(1, 0, 200).draw(0, 5000);
        assertThat(Arrays.stream(refiner).max()).hasValue(199);
        int[] high = TimestepSampler.uniform(1, 900, 1000).draw(0, 5000);
        assertThat(Arrays.stream(high).min()).hasValue(900);
        assertThat(Arrays.stream(high).max()).hasValue(999);
        int[] turbo = TimestepSampler.spaced(1, 249, 250, 4).draw(0, 1000);
        assertThat(Arrays.stream(turbo).distinct().sorted()).containsExactly(249, 499, 749, 999);
    }

    @Test
    void weightedDrawsFollowTheirWeights() {
        double[] weights = new double[1000];
        double[] shares = new double[100];
        for (int t = 0; t < 1000; t++) {
            weights[t] = t < 500 ? 1 : 3;
            shares[t / 10] += weights[t] / 2000;
        }
        int[] drawn = TimestepSampler.weighted(5, weights).draw(0, DRAWS);
        assertThat(chiSquare(drawn, shares)).isLessThan(CHI_SQUARE_99_AT_ONE_IN_A_MILLION);
        assertThat(chiSquare(drawn, evenly())).isGreaterThan(CHI_SQUARE_99_AT_ONE_IN_A_MILLION);
        int[] few = TimestepSampler.weighted(5, new double[] {0, 2, 0, 1, 0}).draw(0, 5000);
        assertThat(Arrays.stream(few).distinct().sorted()).containsExactly(1, 3);
    }

    @Test
    void argumentsAreChecked() {
        assertThatThrownBy(() -> TimestepSampler.uniform(0, 10, 10)).hasMessageContaining("low 10 and end 10");
        assertThatThrownBy(() -> TimestepSampler.uniform(0, -1, 10)).hasMessageContaining("low -1");
        assertThatThrownBy(() -> TimestepSampler.spaced(0, 0, 0, 4)).hasMessageContaining("stride 0");
        assertThatThrownBy(() -> TimestepSampler.weighted(0, new double[] {1, -1}))
                .hasMessageContaining("weights[1]");
        assertThatThrownBy(() -> TimestepSampler.weighted(0, new double[] {1, Double.NaN}))
                .hasMessageContaining("weights[1]");
        assertThatThrownBy(() -> TimestepSampler.weighted(0, new double[3])).hasMessageContaining("sum");
    }

    /// An image's timestep depends on its place in the global batch only, not on the micro-batch.
    @Test
    void imagesShareTheirPairsTimestepOrHaveTheirOwn() {
        TimestepSampler sampler = TimestepSampler.uniform(3, 0, 1000);
        int[] places = {4, 0, 7};
        int[] shared = sampler.ofImages(2, places, false);
        int[] own = sampler.ofImages(2, places, true);
        for (int i = 0; i < places.length; i++) {
            assertThat(shared[i]).isEqualTo(sampler.draw(2, 8)[places[i]]);
            assertThat(shared[3 + i]).isEqualTo(shared[i]);
            assertThat(own[i]).isEqualTo(sampler.draw(2, 16)[2 * places[i]]);
            assertThat(own[3 + i])
                    .isEqualTo(sampler.draw(2, 16)[2 * places[i] + 1])
                    .isNotEqualTo(own[i]);
            assertThat(sampler.ofImages(2, new int[] {places[i]}, true)).containsExactly(own[i], own[3 + i]);
        }
    }
}
