package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class DataCursorTest {
    private static final int[] ELIGIBLE = IntStream.range(0, 97).map(i -> 3 * i).toArray();

    private static DataCursor cursor(long seed, int rank, int ranks) {
        return new DataCursor(ELIGIBLE, 7, seed, rank, ranks, Optional.empty());
    }

    private static List<PairUse> steps(DataCursor cursor, int from, int to, int pairs) {
        List<PairUse> uses = new ArrayList<>();
        for (int step = from; step < to; step++) {
            uses.addAll(cursor.batch(step, pairs));
        }
        return uses;
    }

    @Test
    void anEpochHasEveryTrainingPairOnceAndNoneThatIsHeldOut() {
        DataCursor cursor = cursor(1, 0, 1);
        List<PairUse> uses = steps(cursor, 0, 45, 8);
        assertThat(cursor.trainingPairs()).isEqualTo(90);
        int[] heldOut = cursor.heldOutPairs();
        assertThat(heldOut).hasSize(7).isSorted();
        assertThat(ELIGIBLE).contains(heldOut);
        for (int epoch = 0; epoch < 4; epoch++) {
            int of = epoch;
            int[] pairs = uses.stream()
                    .filter(use -> use.epoch() == of)
                    .mapToInt(PairUse::pair)
                    .toArray();
            assertThat(pairs).hasSize(90).doesNotHaveDuplicates().doesNotContain(heldOut);
            assertThat(ELIGIBLE).contains(pairs);
        }
        // Another order in each epoch, and for each seed.
        assertThat(uses.get(90).pair() == uses.get(0).pair()
                        && uses.get(91).pair() == uses.get(1).pair())
                .isFalse();
        assertThat(steps(cursor(2, 0, 1), 0, 11, 8)).isNotEqualTo(uses.subList(0, 88));
        assertThat(cursor(2, 0, 1).heldOutPairs()).isNotEqualTo(heldOut);
    }

    @Test
    void theOrderIsAFunctionOfTheStep() {
        List<PairUse> whole = steps(cursor(4, 0, 1), 0, 30, 8);
        assertThat(steps(cursor(4, 0, 1), 17, 30, 8)).isEqualTo(whole.subList(17 * 8, 240));
        assertThat(steps(cursor(4, 0, 1), 0, 60, 4)).isEqualTo(whole);
        DataCursor used = cursor(4, 0, 1);
        used.batch(1000, 8);
        assertThat(used.batch(3, 8)).isEqualTo(whole.subList(24, 32));
    }

    @Test
    void ranksShareAGlobalBatch() {
        for (int step : new int[] {0, 11, 40}) {
            List<PairUse> shared = new ArrayList<>();
            for (int rank = 0; rank < 4; rank++) {
                assertThat(cursor(9, rank, 4).firstPlace(10)).isEqualTo(shared.size());
                shared.addAll(cursor(9, rank, 4).batch(step, 10));
            }
            assertThat(shared).isEqualTo(cursor(9, 0, 1).batch(step, 10));
        }
    }

    @Test
    void limits() {
        assertThat(new DataCursor(ELIGIBLE, 0, 1, 0, 1, Optional.empty()).trainingPairs())
                .isEqualTo(97);
        // A batch may be larger than the data.
        DataCursor tiny = new DataCursor(new int[] {5}, 0, 1, 0, 1, Optional.empty());
        assertThat(tiny.batch(0, 3)).containsExactly(new PairUse(5, 0), new PairUse(5, 1), new PairUse(5, 2));
        assertThatThrownBy(() -> new DataCursor(new int[0], 0, 1, 0, 1, Optional.empty()))
                .hasMessageContaining("found 0");
        assertThatThrownBy(() -> new DataCursor(ELIGIBLE, 97, 1, 0, 1, Optional.empty()))
                .hasMessageContaining("97 are held out");
        assertThatThrownBy(() -> new DataCursor(ELIGIBLE, -1, 1, 0, 1, Optional.empty()))
                .hasMessageContaining("-1 are held out");
        assertThatThrownBy(() -> cursor(1, 4, 4)).hasMessageContaining("rank");
        assertThatThrownBy(() -> cursor(1, 0, 3).batch(0, 2)).hasMessageContaining("at least 3, one for each");
        assertThatThrownBy(() -> cursor(1, 0, 1).batch(-1, 8)).hasMessageContaining("step");
    }

    /// A share of 0.3: 3 of 10 pairs, spread evenly, the same for any number of ranks. Both parts have epochs of their
    /// own.
    @Test
    void pairsAreMixedInWithAFixedShare() {
        Optional<DataCursor.Mix> mix = Optional.of(new DataCursor.Mix(pair -> pair >= 200, 0.3));
        DataCursor cursor = new DataCursor(ELIGIBLE, 7, 5, 0, 1, mix);
        assertThat(cursor.trainingPairs()).isEqualTo(90);
        assertThat(cursor.heldOutPairs()).isEqualTo(cursor(5, 0, 1).heldOutPairs());
        List<PairUse> uses = steps(cursor, 0, 100, 10);
        List<PairUse> mixed = uses.stream().filter(use -> use.pair() >= 200).toList();
        List<PairUse> others = uses.stream().filter(use -> use.pair() < 200).toList();
        for (int step = 0; step < 100; step++) {
            assertThat(uses.subList(10 * step, 10 * step + 10).stream().filter(use -> use.pair() >= 200))
                    .hasSizeBetween(2, 4);
        }
        assertThat(mixed).hasSize(300);
        for (List<PairUse> part : List.of(mixed, others)) {
            long count = part.stream().map(PairUse::pair).distinct().count();
            assertThat(part.subList(0, (int) count).stream().map(PairUse::pair)).doesNotHaveDuplicates();
            assertThat(part.get((int) count - 1).epoch()).isZero();
            assertThat(part.get((int) count).epoch()).isOne();
        }
        List<PairUse> byRanks = new ArrayList<>();
        for (int step = 0; step < 100; step++) {
            for (int rank = 0; rank < 3; rank++) {
                byRanks.addAll(new DataCursor(ELIGIBLE, 7, 5, rank, 3, mix).batch(step, 10));
            }
        }
        assertThat(byRanks).isEqualTo(uses);
        assertThatThrownBy(() -> new DataCursor(
                        ELIGIBLE, 7, 5, 0, 1, Optional.of(new DataCursor.Mix(pair -> pair > 100_000, 0.3))))
                .hasMessageContaining(
                        "data.mix: expected pairs to train on in data.paths and in data.mix.paths, found 90");
    }
}
