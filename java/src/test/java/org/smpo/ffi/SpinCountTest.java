package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

class SpinCountTest {
    private static final List<String> BEFORE =
            List.of("cpu  100 0 50 1000 10 0 0 0 0 0", "7 (a (strange) name) S 1 1 1 0 -1 4194560 1 2 3 4 20 5 0 0 20");

    @Test
    void anIdleMachineSpinsLonger() {
        // 20 ticks pass; 8 are used, all by this process.
        List<String> after = List.of(
                "cpu  106 0 52 1012 10 0 0 0 0 0", "7 (a (strange) name) R 1 1 1 0 -1 4194560 1 2 3 4 26 7 0 0 20");
        OptionalDouble share = SpinCount.shareOfOthers(BEFORE, after);
        assertThat(share).hasValue(0);
        assertThat(SpinCount.of(share)).isEqualTo(SpinCount.IDLE);
    }

    @Test
    void aBusyMachineSpinsBriefly() {
        // 20 ticks pass; 14 are used, 4 of them by this process.
        List<String> after = List.of(
                "cpu  112 0 52 1006 10 0 0 0 0 0", "7 (a (strange) name) R 1 1 1 0 -1 4194560 1 2 3 4 23 6 0 0 20");
        OptionalDouble share = SpinCount.shareOfOthers(BEFORE, after);
        assertThat(share).hasValue(0.5);
        assertThat(SpinCount.of(share)).isEqualTo(SpinCount.BUSY);
    }

    @Test
    void unreadableStatisticsCountAsBusy() {
        assertThat(SpinCount.shareOfOthers(List.of("", ""), List.of("", ""))).isEmpty();
        assertThat(SpinCount.shareOfOthers(BEFORE, BEFORE)).isEmpty();
        assertThat(SpinCount.of(OptionalDouble.empty())).isEqualTo(SpinCount.BUSY);
    }
}
