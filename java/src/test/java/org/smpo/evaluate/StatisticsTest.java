package org.smpo.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Statistics, intervals and agreement against values computed by hand or from their definitions.
final class StatisticsTest {
    private static final Bootstrap BOOTSTRAP = Bootstrap.standard();

    /// Sums of a few doubles differ from the exact result by some units of their last place.
    private static final double ROUNDING = 1e-12;

    @Test
    void statisticsOfASampleByHand() {
        ClusteredSample sample = new ClusteredSample(new double[] {1, -1, 0, 2}, new int[] {7, 7, 9, 9});
        assertThat(sample.prompts()).isEqualTo(2);
        assertThat(sample.images()).isEqualTo(4);
        assertThat(sample.mean(new int[] {1, 1})).isEqualTo(0.5);
        assertThat(sample.mean(new int[] {2, 0})).isZero();
        assertThat(sample.mean(new int[] {1, 3})).isEqualTo(0.75);
        assertThat(sample.median(new int[] {1, 1})).isEqualTo(0.5);
        assertThat(sample.median(new int[] {0, 2})).isEqualTo(1);
        // -1 1 0 0 0 2 2 2: the fourth and the fifth are 0 and 1.
        assertThat(sample.median(new int[] {1, 3})).isEqualTo(0.5);
        // A win, a loss, a tie, a win.
        assertThat(sample.winRate(new int[] {1, 1})).isEqualTo(0.625);
        assertThat(sample.winRate(new int[] {2, 0})).isEqualTo(0.5);
        assertThat(sample.winRate(new int[] {0, 2})).isEqualTo(0.75);
    }

    @Test
    void theMedianEqualsThatOfTheRepeatedValues() {
        PhiloxStream random = new Philox(3).stream(Purpose.BOOTSTRAP, 0, 0);
        for (int round = 0; round < 50; round++) {
            int images = 1 + random.nextInt(12);
            double[] values = new double[images];
            int[] prompts = new int[images];
            for (int i = 0; i < images; i++) {
                values[i] = random.nextInt(5);
                prompts[i] = i / 2;
            }
            int[] times = new int[(images + 1) / 2];
            Arrays.setAll(times, i -> random.nextInt(4));
            times[0]++;
            double[] written = IntStream.range(0, images)
                    .boxed()
                    .flatMapToDouble(i -> IntStream.range(0, times[prompts[i]]).mapToDouble(k -> values[i]))
                    .sorted()
                    .toArray();
            int n = written.length;
            assertThat(new ClusteredSample(values, prompts).median(times))
                    .isEqualTo((written[(n - 1) / 2] + written[n / 2]) / 2);
        }
    }

    @Test
    void quantilesLieBetweenNeighbours() {
        assertThat(Bootstrap.quantile(new double[] {0, 10}, 0.25)).isEqualTo(2.5);
        assertThat(Bootstrap.quantile(new double[] {0, 10, 20}, 0.5)).isEqualTo(10);
        assertThat(Bootstrap.quantile(new double[] {3}, 0.975)).isEqualTo(3);
    }

    /// Four prompts with values 0, 0, 0, 1: the sum of a resample is Binomial(4, 1/4), whose 2.5 % and 97.5
    /// % quantiles are 0 and 3.
    @Test
    void theIntervalHasTheBinomialsQuantiles() {
        ClusteredSample sample = new ClusteredSample(new double[] {0, 0, 0, 1}, new int[] {0, 1, 2, 3});
        assertThat(BOOTSTRAP.interval(4, sample::mean)).isEqualTo(new Interval(0.25, 0, 0.75));
    }

    /// With many prompts, the interval of a mean approaches that of the normal distribution.
    @Test
    void theIntervalOfAMeanIsAboutTwoStandardErrors() {
        int prompts = 400;
        PhiloxStream random = new Philox(11).stream(Purpose.BOOTSTRAP, 1, 0);
        double[] values = IntStream.range(0, prompts)
                .mapToDouble(i -> random.nextDouble())
                .toArray();
        int[] own = IntStream.range(0, prompts).toArray();
        Interval interval = BOOTSTRAP.interval(prompts, new ClusteredSample(values, own)::mean);
        double mean = Arrays.stream(values).average().orElseThrow();
        double error = Math.sqrt(
                        Arrays.stream(values).map(v -> (v - mean) * (v - mean)).sum())
                / prompts;
        assertThat(interval.estimate()).isCloseTo(mean, within(ROUNDING));
        // A tail quantile of 2000 normal resamples has a standard error of 0.06 standard deviations; four of them.
        assertThat(interval.low()).isCloseTo(mean - 1.96 * error, within(0.24 * error));
        assertThat(interval.high()).isCloseTo(mean + 1.96 * error, within(0.24 * error));
        // Prompts are resampled, not images: repeating each image adds no information.
        double[] twice = new double[2 * prompts];
        int[] ofTwice = new int[2 * prompts];
        Arrays.setAll(twice, i -> values[i / 2]);
        Arrays.setAll(ofTwice, i -> i / 2);
        Interval again = BOOTSTRAP.interval(prompts, new ClusteredSample(twice, ofTwice)::mean);
        assertThat(again.low()).isCloseTo(interval.low(), within(ROUNDING));
        assertThat(again.high()).isCloseTo(interval.high(), within(ROUNDING));
        // If each image had its own prompt, the interval would be narrower by the square root of two.
        Interval loose = BOOTSTRAP.interval(
                2 * prompts,
                new ClusteredSample(twice, IntStream.range(0, 2 * prompts).toArray())::mean);
        assertThat((interval.high() - interval.low()) / (loose.high() - loose.low()))
                .isCloseTo(Math.sqrt(2), within(0.12));
    }

    @Test
    void resamplesAreAFunctionOfTheSeed() {
        PhiloxStream random = new Philox(4).stream(Purpose.BOOTSTRAP, 3, 0);
        double[] values = new double[30];
        Arrays.setAll(values, i -> random.nextDouble());
        ClusteredSample sample =
                new ClusteredSample(values, IntStream.range(0, 30).toArray());
        Interval first = BOOTSTRAP.interval(30, sample::mean);
        assertThat(BOOTSTRAP.interval(30, sample::mean)).isEqualTo(first);
        Interval other = new Bootstrap(1, 2000, 0.95).interval(30, sample::mean);
        assertThat(other.estimate()).isEqualTo(first.estimate());
        assertThat(List.of(other.low(), other.high())).isNotEqualTo(List.of(first.low(), first.high()));
        Interval wider = new Bootstrap(0, 2000, 0.99).interval(30, sample::mean);
        assertThat(wider.low()).isLessThan(first.low());
        assertThat(wider.high()).isGreaterThan(first.high());
    }

    @Test
    void aModelAgainstItselfIsExactlyOneHalfAndZero() {
        double[] values = {0.1, 0.7, 0.30000000000000004, -2};
        Comparison same = Comparison.of("m", "b", "a", null, values, values, new int[] {0, 0, 1, 2}, BOOTSTRAP);
        Interval half = new Interval(0.5, 0.5, 0.5);
        Interval zero = new Interval(0, 0, 0);
        assertThat(same.winRate()).isEqualTo(half);
        assertThat(same.meanDifference()).isEqualTo(zero);
        assertThat(same.medianDifference()).isEqualTo(zero);
        assertThat(List.of(same.wins(), same.ties(), same.losses())).containsExactly(0, 4, 0);
        // A difference is detected.
        double[] moved = values.clone();
        moved[2] = Math.nextUp(moved[2]);
        Comparison other = Comparison.of("m", "b", "a", null, moved, values, new int[] {0, 0, 1, 2}, BOOTSTRAP);
        assertThat(other.winRate()).isNotEqualTo(half);
        assertThat(other.meanDifference()).isNotEqualTo(zero);
    }

    @Test
    void aComparisonByHand() {
        Comparison found = Comparison.of(
                "m",
                "b",
                "a",
                "c",
                new double[] {3, 1, 5, 2},
                new double[] {1, 1, 6, 1},
                new int[] {0, 0, 1, 2},
                BOOTSTRAP);
        assertThat(found.prompts()).isEqualTo(3);
        assertThat(found.images()).isEqualTo(4);
        assertThat(List.of(found.wins(), found.ties(), found.losses())).containsExactly(2, 1, 1);
        assertThat(found.winRate().estimate()).isEqualTo(0.625);
        assertThat(found.meanDifference().estimate()).isEqualTo(0.5);
        assertThat(found.medianDifference().estimate()).isEqualTo(0.5);
        assertThat(found.meanDifference().low()).isBetween(-1.0, 0.5);
        assertThat(found.meanDifference().high()).isBetween(0.5, 2.0);
    }

    @Test
    void summaryOfAModelByHand() {
        MetricSummary found =
                MetricSummary.of("m", "a", null, new double[] {1, 2, 3, 6}, new int[] {0, 1, 2, 3}, BOOTSTRAP);
        assertThat(found.mean().estimate()).isEqualTo(3);
        assertThat(found.median().estimate()).isEqualTo(2.5);
        // 4 + 1 + 0 + 9 over 3.
        assertThat(found.standardDeviation()).isCloseTo(Math.sqrt(14.0 / 3), within(ROUNDING));
        assertThat(found.least()).isEqualTo(1);
        assertThat(found.most()).isEqualTo(6);
    }

    @Test
    void agreementByHand() {
        double[] values = {0.1, 0.4, 0.35, 0.8};
        double[] verdicts = {0, 0, 1, 1};
        Agreement found = Agreement.of("r", "j", null, values, verdicts, new int[] {0, 1, 0, 1}, BOOTSTRAP);
        assertThat(found.right()).isEqualTo(2);
        // One of four pairs of a right and a wrong image is in the wrong order: 0.35 against 0.4.
        assertThat(found.areaUnderCurve().estimate()).isEqualTo(0.75);
        assertThat(found.samePrompt().estimate()).isEqualTo(1);
        assertThat(found.samePromptPairs()).isEqualTo(2);
        // The threshold of prompt 0 is 0.225 and calls 0.4 right; that of prompt 1 is 0.6 and calls 0.35 wrong.
        assertThat(found.accuracy().estimate()).isEqualTo(0.5);
        Agreement tied = Agreement.of(
                "r", "j", null, new double[] {1, 1, 2}, new double[] {1, 0, 1}, new int[] {0, 0, 0}, BOOTSTRAP);
        assertThat(tied.areaUnderCurve().estimate()).isEqualTo(0.75);
        assertThat(tied.accuracy().estimate()).isNaN();
        Agreement none =
                Agreement.of("r", "j", null, new double[] {1, 2}, new double[] {1, 1}, new int[] {0, 1}, BOOTSTRAP);
        assertThat(none.areaUnderCurve().estimate()).isNaN();
        assertThat(none.areaUnderCurve().low()).isNaN();
        assertThat(none.json().toString()).contains("estimate=null");
    }

    /// Against the definition, pair by pair, with ties and resamples.
    @Test
    void theAreaUnderTheCurveCountsPairs() {
        PhiloxStream random = new Philox(9).stream(Purpose.BOOTSTRAP, 2, 0);
        int images = 40;
        double[] values =
                IntStream.range(0, images).mapToDouble(i -> random.nextInt(8)).toArray();
        double[] verdicts =
                IntStream.range(0, images).mapToDouble(i -> random.nextInt(2)).toArray();
        int[] prompts = IntStream.range(0, images).map(i -> i / 4).toArray();
        double won = 0;
        double pairs = 0;
        for (int i = 0; i < images; i++) {
            for (int j = 0; j < images; j++) {
                if (verdicts[i] == 1 && verdicts[j] == 0) {
                    won += values[i] > values[j] ? 1 : values[i] == values[j] ? 0.5 : 0;
                    pairs++;
                }
            }
        }
        Agreement found = Agreement.of("r", "j", null, values, verdicts, prompts, BOOTSTRAP);
        assertThat(found.areaUnderCurve().estimate()).isCloseTo(won / pairs, within(ROUNDING));
        assertThat(found.areaUnderCurve().low()).isLessThan(won / pairs);
        assertThat(found.areaUnderCurve().high()).isGreaterThan(won / pairs);
        // The negated signal has the complementary area.
        double[] turned = Arrays.stream(values).map(v -> -v).toArray();
        assertThat(Agreement.of("r", "j", null, turned, verdicts, prompts, BOOTSTRAP)
                        .areaUnderCurve()
                        .estimate())
                .isCloseTo(1 - won / pairs, within(ROUNDING));
    }

    @Test
    void numbersAsText() {
        assertThat(new Interval(0.104, 0.059, 0.149).times(100).signed(1)).isEqualTo("+10.4 [5.9, 14.9]");
        assertThat(new Interval(-0.02, -0.1, 0.01).signed(2)).isEqualTo("−0.02 [−0.10, 0.01]");
        assertThat(Interval.number(-0.0001, 2)).isEqualTo("0.00");
        assertThat(Interval.number(Double.NaN, 2)).isEqualTo("–");
        assertThat(new Interval(1, 0.1, 2).excludes(0)).isTrue();
        assertThat(new Interval(1, 0, 2).excludes(0)).isFalse();
        assertThat(new Interval(-1, -2, -0.1).excludes(0)).isTrue();
    }

    @Test
    void badSettingsAreNamed() {
        assertThatThrownBy(() -> new Bootstrap(0, 0, 0.95))
                .hasMessageContaining("resamples: expected 1 or more, got 0");
        assertThatThrownBy(() -> new Bootstrap(0, 1, 1)).hasMessageContaining("between 0 and 1");
    }
}
