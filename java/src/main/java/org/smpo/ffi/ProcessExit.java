package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/// Ends the process safely while a call of the library is running.
///
/// Ctrl-C, SIGTERM, [System#exit] and [Runtime#halt] all end in `exit()` of the C library, which runs
/// the static destructors of LibTorch and oneDNN. A call that is still running then uses what they
/// destroyed, and the JVM crashes.
///
/// The library has its own handler that waits for running calls (`native/src/engine/process_exit.h`). It
/// serves programs in C and C++, which have no shutdown hooks, and [Runtime#halt], which runs none. But
/// `exit()` runs handlers and destructors in reverse order of registration, so objects that the running
/// call was the first to use are destroyed before that handler runs. The JVM can register a handler later
/// than any other code. So a shutdown hook, installed when the first engine opens, registers `_exit` as
/// the exit handler that runs first. The process then ends with its own exit code and without destructors.
///
/// The hook registers nothing when no call can be running: when every engine is closed, or when the only
/// threads that own one have ended or are ending the process themselves. Such a process ends as if smpo
/// were not there.
public final class ProcessExit {
    private static final int SIGINT = 2;
    private static final int SIGTERM = 15;
    private static final long DEFAULT_ACTION = 0;

    private static final Set<Handle.Session> SESSIONS = ConcurrentHashMap.newKeySet();
    private static final LibC LIBC = LibC.find();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(ProcessExit::prepare, "smpo-process-exit"));
    }

    private ProcessExit() {}

    /// Lets a second Ctrl-C or SIGTERM end the process at once. A shutdown hook that waits for
    /// something, such as a checkpoint, needs this because Java ignores signals while hooks run.
    public static void endAtSecondSignal() {
        LIBC.signal(SIGINT, DEFAULT_ACTION);
        LIBC.signal(SIGTERM, DEFAULT_ACTION);
    }

    /// Guards the exit for as long as the session is open.
    static void guard(Handle.Session session) {
        SESSIONS.add(session);
    }

    /// Ends the guard: no call of the session is running, and none will.
    static void release(Handle.Session session) {
        SESSIONS.remove(session);
    }

    private static void prepare() {
        if (SESSIONS.stream().anyMatch(session -> mayCall(session.owner))) {
            LIBC.exitWithoutDestructors();
        }
    }

    private static boolean mayCall(Thread owner) {
        return owner.isAlive()
                && Arrays.stream(owner.getStackTrace())
                        .noneMatch(frame -> frame.getClassName().equals("java.lang.Shutdown"));
    }

    /// Functions of the C library. `on_exit` belongs to glibc, which LibTorch requires.
    private record LibC(MethodHandle onExit, MethodHandle signal, MemorySegment exit) {
        @SuppressWarnings("restricted")
        static LibC find() {
            Linker linker = Linker.nativeLinker();
            SymbolLookup symbols = linker.defaultLookup();
            return new LibC(
                    linker.downcallHandle(
                            symbols.find("on_exit").orElseThrow(), FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS)),
                    linker.downcallHandle(
                            symbols.find("signal").orElseThrow(), FunctionDescriptor.of(ADDRESS, JAVA_INT, ADDRESS)),
                    symbols.find("_exit").orElseThrow());
        }

        /// `on_exit` passes the exit code as the first argument, which is the only one that `_exit`
        /// takes.
        void exitWithoutDestructors() {
            try {
                int status = (int) onExit.invokeExact(exit, MemorySegment.NULL);
                if (status != 0) {
                    throw new IllegalStateException("on_exit: expected 0, got " + status);
                }
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new AssertionError("a downcall raised a checked exception", e);
            }
        }

        void signal(int number, long action) {
            try {
                MemorySegment previous = (MemorySegment) signal.invokeExact(number, MemorySegment.ofAddress(action));
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
