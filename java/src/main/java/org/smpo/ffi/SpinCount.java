package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalDouble;

/// Chooses how long OpenMP's threads spin before they sleep. This must be set before the library is
/// loaded.
///
/// A small network needs threads that are awake for the next operator: with 3,000 turns a tiny UNet
/// takes a third of the time that it takes with 1,000. But where other programs use the cores, a
/// spinning thread keeps the thread that it waits for from running. So the choice depends on how busy
/// the machine is; see bench/results/threads.md. If the user has set `GOMP_SPINCOUNT` or
/// `OMP_WAIT_POLICY`, nothing is changed.
final class SpinCount {
    static final int IDLE = 3_000;
    static final int BUSY = 1_000;

    private static final String VARIABLE = "GOMP_SPINCOUNT";
    private static final Path PROCESSES = Path.of("/proc/stat");
    private static final Path THIS_PROCESS = Path.of("/proc/self/stat");
    private static final long SAMPLE_MILLIS = 60;
    /// Share of all cores in use by other programs above which a machine is busy.
    private static final double BUSY_SHARE = 0.2;

    private SpinCount() {}

    /// Sets the variable for the libraries that this process will load.
    static void set() {
        if (System.getenv(VARIABLE) == null && System.getenv("OMP_WAIT_POLICY") == null) {
            setVariable(Integer.toString(of(shareOfOthers())));
        }
    }

    /// Returns the number of turns for a machine on which other programs use this share of the cores. An
    /// unknown share counts as busy.
    static int of(OptionalDouble shareOfOthers) {
        return shareOfOthers.isPresent() && shareOfOthers.getAsDouble() < BUSY_SHARE ? IDLE : BUSY;
    }

    /// Returns the share of all cores that other processes used between two readings, or empty if the
    /// readings do not have the expected format.
    ///
    /// @param before First line of `/proc/stat`, then the line of `/proc/self/stat`
    /// @param after The same lines some time later
    static OptionalDouble shareOfOthers(List<String> before, List<String> after) {
        try {
            long busy = busy(after.getFirst()) - busy(before.getFirst());
            long all = all(after.getFirst()) - all(before.getFirst());
            long own = own(after.getLast()) - own(before.getLast());
            return all <= 0 ? OptionalDouble.empty() : OptionalDouble.of(Math.max(0, busy - own) / (double) all);
        } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
            return OptionalDouble.empty();
        }
    }

    private static OptionalDouble shareOfOthers() {
        try {
            List<String> before = read();
            Thread.sleep(SAMPLE_MILLIS);
            return shareOfOthers(before, read());
        } catch (IOException e) {
            return OptionalDouble.empty();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return OptionalDouble.empty();
        }
    }

    private static List<String> read() throws IOException {
        return List.of(Files.readAllLines(PROCESSES).getFirst(), Files.readString(THIS_PROCESS));
    }

    /// Returns the sum of the ticks in `cpu user nice system idle iowait irq softirq steal ...`.
    private static long all(String line) {
        String[] words = line.split(" +", -1);
        long sum = 0;
        for (int i = 1; i <= 8; i++) {
            sum += Long.parseLong(words[i]);
        }
        return sum;
    }

    private static long busy(String line) {
        String[] words = line.split(" +", -1);
        return all(line) - Long.parseLong(words[4]) - Long.parseLong(words[5]);
    }

    /// Returns the user and system ticks in `pid (name) state ...`; the name may contain spaces.
    private static long own(String line) {
        String[] words = line.substring(line.lastIndexOf(')') + 2).split(" ", -1);
        return Long.parseLong(words[11]) + Long.parseLong(words[12]);
    }

    /// Calls `setenv` of the C library, since Java cannot change the environment of its own process.
    @SuppressWarnings("restricted")
    private static void setVariable(String value) {
        Linker linker = Linker.nativeLinker();
        MethodHandle setenv = linker.downcallHandle(
                linker.defaultLookup().find("setenv").orElseThrow(),
                FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocateFrom(VARIABLE);
            int status = (int) setenv.invokeExact(name, arena.allocateFrom(value), 1);
            if (status != 0) {
                throw new IllegalStateException("setenv: expected 0, got " + status);
            }
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError("a downcall raised a checked exception", e);
        }
    }
}
