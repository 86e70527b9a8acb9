package org.smpo.random;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class PhiloxTest {
    private static final double CHI_SQUARE_23_AT_ONE_IN_A_MILLION = 68.0;

    private final Philox philox = new Philox(0x0123456789ABCDEFL);

    /// Counter words, key words, output words: the three philox4x32-10 lines of Random123's tests/kat_vectors.
    private static final int[][] KNOWN_ANSWERS = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {-1, -1, -1, -1, -1, -1, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {
            0x243f6a88,
            0x85a308d3,
            0x13198a2e,
            0x03707344,
            0xa4093822,
            0x299f31d0,
            0xd16cfe09,
            0x94fdcceb,
            0x5001e420,
            0x24126ea1
        },
    };

    private static int[] block(int[] v) {
        int[] out = new int[4];
        Philox.block(v[0], v[1], v[2], v[3], v[4], v[5], out);
        return out;
    }

    @Test
    void blockGivesRandom123sKnownAnswers() {
        for (int[] v : KNOWN_ANSWERS) {
            assertThat(block(v)).containsExactly(Arrays.copyOfRange(v, 6, 10));
        }
    }

    @Test
    void anyChangedWordOfCounterOrKeyGivesAnotherAnswer() {
        for (int[] v : KNOWN_ANSWERS) {
            for (int word = 0; word < 6; word++) {
                int[] mutated = v.clone();
                mutated[word] ^= 1;
                assertThat(block(mutated)).isNotEqualTo(Arrays.copyOfRange(v, 6, 10));
            }
        }
    }

    @Test
    void streamReadsBlockAfterBlockOfTheDocumentedCounter() {
        long seed = 0x299f31d0_a4093822L;
        long item = 0x00_370734_85a308d3L;
        PhiloxStream stream = new Philox(seed).stream(Purpose.INVERSION_NOISE, 0x93198a2eL, item);
        for (int block = 0; block < 3; block++) {
            int[] expected = block(new int[] {block, 0x85a308d3, 0x93198a2e, 0x06_370734, 0xa4093822, 0x299f31d0});
            for (int word : expected) {
                assertThat(stream.nextWord()).isEqualTo(word);
            }
        }
    }

    @Test
    void purposesKeepTheirNumbers() {
        assertThat(Arrays.stream(Purpose.values()).map(p -> p.code() + " " + p))
                .containsExactly(
                        "1 TIMESTEPS",
                        "2 DATA_ORDER",
                        "3 CAPTION_DROPOUT",
                        "4 VAE_SAMPLE",
                        "5 FORWARD_NOISE",
                        "6 INVERSION_NOISE",
                        "7 INITIAL_LATENTS",
                        "8 SAMPLER_NOISE",
                        "9 CROP",
                        "10 FLIP",
                        "11 BOOTSTRAP",
                        "12 INITIAL_WEIGHTS",
                        "13 HELD_OUT",
                        "14 DEMO_SCENES",
                        "15 DEMO_IMAGES",
                        "16 ROLLOUT_LEVELS",
                        "18 GROUP_CHOICE",
                        "19 TOURNAMENT",
                        "20 JUDGE_ORDER",
                        "21 TRAJECTORY_STEPS",
                        "22 CONTINUATION",
                        "23 IMAGE_KIND",
                        "24 ROLLOUT_ORDER",
                        "25 MIX_ORDER");
    }

    @Test
    void stepItemAndBoundAreChecked() {
        assertThatThrownBy(() -> philox.stream(Purpose.CROP, -1, 0)).hasMessageContaining("got -1");
        assertThatThrownBy(() -> philox.stream(Purpose.CROP, 1L << 32, 0)).hasMessageContaining("4294967296");
        assertThatThrownBy(() -> philox.stream(Purpose.CROP, 0, 1L << 56)).hasMessageContaining("item");
        assertThatThrownBy(() -> philox.stream(Purpose.CROP, 0, -1)).hasMessageContaining("item");
        assertThatThrownBy(() -> philox.uniformInt(Purpose.CROP, 0, 0, 0)).hasMessageContaining("bound");
        assertThatThrownBy(() -> philox.permutation(Purpose.CROP, 0, -1)).hasMessageContaining("size");
    }

    @Test
    void doublesAreMultiplesOfTwoToTheMinus53BelowOne() {
        double[] draws = new double[20_000];
        for (int i = 0; i < draws.length; i++) {
            draws[i] = philox.uniformDouble(Purpose.CAPTION_DROPOUT, 3, i);
            assertThat(draws[i]).isBetween(0.0, Math.nextDown(1.0));
            assertThat(draws[i] * 0x1p53).isEqualTo(Math.rint(draws[i] * 0x1p53));
        }
        // The variance of a uniform number is 1 / 12.
        double fiveDeviations = 5 * Math.sqrt(1 / 12.0 / draws.length);
        assertThat(Arrays.stream(draws).average().orElseThrow()).isBetween(0.5 - fiveDeviations, 0.5 + fiveDeviations);
    }

    /// A bound of 3 x 2^29 is 3/8 of 2^32: `word % bound` yields the lower two thirds three times and the rest
    /// twice, so more than half of its results would be below the middle.
    @Test
    void integersHaveNoModuloBias() {
        int bound = 3 << 29;
        int draws = 20_000;
        long below = 0;
        long belowByModulo = 0;
        for (int i = 0; i < draws; i++) {
            below += philox.uniformInt(Purpose.BOOTSTRAP, 0, i, bound) < bound / 2 ? 1 : 0;
            int word = philox.stream(Purpose.BOOTSTRAP, 0, i).nextWord();
            belowByModulo += Integer.remainderUnsigned(word, bound) < bound / 2 ? 1 : 0;
        }
        double fiveDeviations = 5 * Math.sqrt(0.25 / draws);
        assertThat((double) below / draws).isBetween(0.5 - fiveDeviations, 0.5 + fiveDeviations);
        assertThat((double) belowByModulo / draws).isGreaterThan(0.5 + fiveDeviations);
    }

    @Test
    void rejectedWordsGoOnThroughTheStream() {
        // With this bound a quarter of all words is rejected, so that some streams need a second word.
        int bound = 3 << 29;
        int rejections = 0;
        for (int item = 0; item < 400; item++) {
            PhiloxStream words = philox.stream(Purpose.BOOTSTRAP, 9, item);
            int drawn = philox.uniformInt(Purpose.BOOTSTRAP, 9, item, bound);
            while ((Integer.toUnsignedLong(words.nextWord()) * bound) >>> 32 != drawn) {
                rejections++;
            }
        }
        // 400 x (1/4 + 1/16 + ...) = 133, with a standard deviation of sqrt(400 x 4/9) = 13.
        assertThat(rejections).isBetween(133 - 5 * 13, 133 + 5 * 13);
    }

    @Test
    void permutationIsAPureFunctionOfItsKey() {
        int[] order = philox.permutation(Purpose.DATA_ORDER, 4, 1000);
        assertThat(philox.permutation(Purpose.DATA_ORDER, 4, 1000)).isEqualTo(order);
        assertThat(philox.permutation(Purpose.DATA_ORDER, 5, 1000)).isNotEqualTo(order);
        assertThat(philox.permutation(Purpose.CROP, 4, 1000)).isNotEqualTo(order);
        assertThat(new Philox(1).permutation(Purpose.DATA_ORDER, 4, 1000)).isNotEqualTo(order);
        assertThat(Arrays.stream(order).sorted().toArray())
                .isEqualTo(IntStream.range(0, 1000).toArray());
        assertThat(philox.permutation(Purpose.DATA_ORDER, 0, 0)).isEmpty();
        assertThat(philox.permutation(Purpose.DATA_ORDER, 0, 1)).containsExactly(0);
    }

    @Test
    void allPermutationsOfFourAreEquallyLikely() {
        double statistic = chiSquare(epoch -> philox.permutation(Purpose.DATA_ORDER, epoch, 4));
        assertThat(statistic).isLessThan(CHI_SQUARE_23_AT_ONE_IN_A_MILLION);
        // The common error of swapping with any position instead of an unset one does not pass.
        double naive = chiSquare(epoch -> {
            int[] order = {0, 1, 2, 3};
            PhiloxStream stream = philox.stream(Purpose.DATA_ORDER, epoch, 0);
            for (int i = 0; i < 4; i++) {
                int chosen = stream.nextInt(4);
                int moved = order[i];
                order[i] = order[chosen];
                order[chosen] = moved;
            }
            return order;
        });
        assertThat(naive).isGreaterThan(CHI_SQUARE_23_AT_ONE_IN_A_MILLION);
    }

    private interface Shuffle {
        int[] at(int epoch);
    }

    private static double chiSquare(Shuffle shuffle) {
        int draws = 24_000;
        int[] counts = new int[256];
        for (int epoch = 0; epoch < draws; epoch++) {
            int[] order = shuffle.at(epoch);
            counts[order[0] << 6 | order[1] << 4 | order[2] << 2 | order[3]]++;
        }
        double expected = draws / 24.0;
        int[] seen = Arrays.stream(counts).filter(count -> count > 0).toArray();
        assertThat(seen).hasSize(24);
        return Arrays.stream(seen)
                .mapToDouble(count -> (count - expected) * (count - expected) / expected)
                .sum();
    }
}
