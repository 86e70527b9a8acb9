package org.smpo.bench;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.smpo.ffi.Abi;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;

/// Cost of a call into the library. Target: 15 ns for [#abiVersion].
///
/// `bareDowncall` is the same C function through a method handle with nothing around it, so the difference is
/// what the checks of [Engine] cost (owner, closed, leaked tensors, status). `synchronize` is the cheapest
/// call on a session: it adds the library's own handle lookup, owner check and modes.
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 2, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class DowncallBench {
    private static final MethodHandle ABI_VERSION = link();

    private Engine engine;
    private Arena arena;
    private MemorySegment version;
    private MemorySegment error;

    /// Opens a session on the CPU.
    @Setup
    public void open() {
        engine = Engine.open(EngineConfig.onCpu());
        arena = Arena.ofConfined();
        version = arena.allocate(JAVA_INT);
        error = arena.allocate(1024, 8);
        error.set(JAVA_INT, 0, 1024);
    }

    /// Closes the session.
    @TearDown
    public void close() {
        arena.close();
        engine.close();
    }

    /// The call through the public class.
    @Benchmark
    public int abiVersion() {
        return engine.abiVersion();
    }

    /// The same C function through a bare method handle.
    @Benchmark
    public int bareDowncall() {
        try {
            int status = (int) ABI_VERSION.invokeExact(version, error);
            return status == 0 ? version.get(JAVA_INT, 0) : -status;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /// A call on the session.
    @Benchmark
    public void synchronize() {
        engine.synchronize();
    }

    @SuppressWarnings("restricted")
    private static MethodHandle link() {
        MemorySegment function = SymbolLookup.libraryLookup(Abi.loaded().file().orElseThrow(), Arena.global())
                .find("smpo_abi_version")
                .orElseThrow();
        return Linker.nativeLinker().downcallHandle(function, FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    }
}
