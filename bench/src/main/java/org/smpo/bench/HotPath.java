package org.smpo.bench;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;

/// A piece of code whose time the guard compares with a calibration loop in the same process: clock speed, noisy
/// neighbours and virtualization cancel in the ratio.
///
/// @param name key in the recorded figures
/// @param repeats calls per timed block, so that a block takes about a millisecond
/// @param call one call; its result keeps the work alive
public record HotPath(String name, int repeats, Call call) {

    /// One call of the path.
    @FunctionalInterface
    public interface Call {
        /// Runs the path once.
        ///
        /// @return a value that depends on the work, so that the compiler cannot remove it
        Object once() throws Exception;
    }

    /// Result of one fork.
    ///
    /// @param nanos median time of one call
    /// @param ratio median over the rounds of (time of one call) / (time of the calibration loop beside it)
    public record Figure(String name, double nanos, double ratio) {}

    private static final int WARM_UP_ROUNDS = 40;
    private static final int ROUNDS = 41;

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    /// CPU time of this thread, which excludes other processes.
    private static long now() {
        return THREADS.getCurrentThreadCpuTime();
    }

    /// Times the path and the calibration loop in turn.
    public Figure measure() throws Exception {
        double[] nanos = new double[ROUNDS];
        double[] ratio = new double[ROUNDS];
        for (int round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
            long before = calibrate();
            long start = now();
            for (int i = 0; i < repeats; i++) sink = call.once();
            double one = (double) (now() - start) / repeats;
            long after = calibrate();
            if (round >= 0) {
                nanos[round] = one;
                ratio[round] = one / ((before + after) / 2.0);
            }
        }
        Arrays.sort(nanos);
        Arrays.sort(ratio);
        return new Figure(name, nanos[ROUNDS / 2], ratio[ROUNDS / 2]);
    }

    // Written and never read: a store that no compiler may remove.
    @SuppressWarnings("UnusedVariable")
    private static volatile Object sink;

    @SuppressWarnings("UnusedVariable")
    private static volatile double calibrationSink;

    /// About 200 us of dependent integer and floating-point work with little memory. A compiler cannot
    /// shorten it, and its time depends on the clock rate as the paths' times do.
    ///
    /// @return elapsed nanoseconds
    static long calibrate() {
        long start = now();
        long state = 0x9E3779B97F4A7C15L;
        double sum = 0;
        long[] table = TABLE;
        for (int i = 0; i < 60_000; i++) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            int slot = (int) state & (table.length - 1);
            table[slot] += state;
            sum += (state >>> 11) * 0x1p-53;
        }
        calibrationSink = sum + table[3];
        return now() - start;
    }

    private static final long[] TABLE = new long[4096];
}
