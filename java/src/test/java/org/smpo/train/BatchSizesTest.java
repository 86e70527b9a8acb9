package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class BatchSizesTest {
    private static final long GB = 1_000_000_000;
    // SD 1.5 at 512 x 512, in bf16.
    private static final long PAIR = 1_560_000_000;
    private static final long IMAGE = 60_000_000;

    @Test
    void aLargeCardTakesTheMost() {
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(8, 32));
    }

    @Test
    void lessMemoryMeansSmallerPowersOfTwo() {
        assertThat(BatchSizes.of(20 * GB, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(4, 32));
        assertThat(BatchSizes.of(10 * GB, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(2, 32));
        assertThat(BatchSizes.of(5 * GB, PAIR, IMAGE * 10, 128, true)).isEqualTo(new BatchSizes(1, 2));
    }

    @Test
    void somethingIsTriedWhereNothingFits() {
        assertThat(BatchSizes.of(0, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(1, 2));
        assertThat(BatchSizes.of(0, 0, 0, 1, false)).isEqualTo(new BatchSizes(1, 2));
    }

    @Test
    void aStepOfFewPairsIsOneBatch() {
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 3, true)).isEqualTo(new BatchSizes(3, 6));
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 1, true)).isEqualTo(new BatchSizes(1, 2));
    }

    @Test
    void aCpuInvertsAsManyAsItDifferentiates() {
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 128, false)).isEqualTo(new BatchSizes(8, 16));
    }
}
