package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// What signals do to a process that is already shutting down.
///
/// Nothing here is needed for a safe exit: when `exit()` begins, the library itself cancels its sessions and lets no
/// destructor run beside a call (see `smpo.h`).
public final class Signals {
    private static final int SIGINT = 2;
    private static final int SIGTERM = 15;

    private Signals() {}

    /// Lets a second Ctrl-C or SIGTERM end the process at once, by restoring the default action of both. For a
    /// shutdown hook that waits for something, such as a checkpoint: Java ignores signals while its hooks run.
    @SuppressWarnings("restricted")
    public static void endAtSecondSignal() {
        Linker linker = Linker.nativeLinker();
        MethodHandle signal = linker.downcallHandle(
                linker.defaultLookup().find("signal").orElseThrow(), FunctionDescriptor.of(ADDRESS, JAVA_INT, ADDRESS));
        for (int number : new int[] {SIGINT, SIGTERM}) {
            try {
                MemorySegment previous = (MemorySegment) signal.invokeExact(number, MemorySegment.NULL); // SIG_DFL
                if (previous.address() == -1) {
                    throw new IllegalStateException("signal: the C library refused signal " + number);
                }
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new AssertionError("a downcall raised a checked exception", e);
            }
        }
    }
}
