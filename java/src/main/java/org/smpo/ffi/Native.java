package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SequenceLayout;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/// `smpo.h`, one to one: its structs, its functions in the header's order, each a `static final` method handle and
/// a wrapper of one call. No logic; `HeaderContractTest` compares every line with the header.
///
/// Each wrapper returns the status; [Errors#check] makes an exception of it. Without a library that fits, each
/// throws the [LinkageError] of [Abi] instead.
final class Native {
    /// `smpo_abi_version` that these bindings were written for.
    static final int ABI_VERSION = 1;

    /// Entries of `smpo_tensor_spec.shape`.
    static final int MAX_RANK = 8;

    private static final Map<String, FunctionDescriptor> FUNCTIONS = new LinkedHashMap<>();
    private static final Map<String, StructLayout> STRUCTS = new LinkedHashMap<>();
    private static final Linker LINKER = Linker.nativeLinker();

    static final StructLayout ERROR = struct(
            "smpo_error",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("code"),
            JAVA_LONG.withName("detail"),
            text("message", 1008));

    static final StructLayout LIBRARY_INFO = struct(
            "smpo_library_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("abi_version"),
            text("version", 32),
            text("commit", 64),
            text("build_type", 32),
            text("compiler", 64),
            text("libtorch", 64),
            text("cuda_compiled", 32),
            text("cuda_targets", 64));

    static final StructLayout CPU_INFO = struct(
            "smpo_cpu_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("features"),
            JAVA_INT.withName("logical_cores"),
            JAVA_INT.withName("physical_cores"),
            JAVA_LONG.withName("total_memory"),
            JAVA_LONG.withName("available_memory"),
            text("model", 96));

    static final StructLayout CUDA_INFO = struct(
            "smpo_cuda_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("compiled"),
            JAVA_INT.withName("device_count"),
            JAVA_INT.withName("driver_version"),
            JAVA_INT.withName("runtime_version"),
            text("problem", 252));

    static final StructLayout CUDA_DEVICE_INFO = struct(
            "smpo_cuda_device_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("index"),
            JAVA_INT.withName("compute_major"),
            JAVA_INT.withName("compute_minor"),
            JAVA_INT.withName("multiprocessors"),
            JAVA_INT.withName("reserved"),
            JAVA_LONG.withName("total_memory"),
            JAVA_LONG.withName("free_memory"),
            text("name", 96));

    static final StructLayout SESSION_CONFIG = struct(
            "smpo_session_config",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("device_type"),
            JAVA_INT.withName("device_index"),
            JAVA_INT.withName("threads"),
            JAVA_LONG.withName("seed"),
            JAVA_INT.withName("deterministic"),
            JAVA_INT.withName("log_level"),
            JAVA_INT.withName("log_capacity"),
            JAVA_INT.withName("reserved"));

    static final StructLayout SESSION_STATISTICS = struct(
            "smpo_session_statistics",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("open_tensors"),
            JAVA_LONG.withName("calls"),
            JAVA_LONG.withName("failed_calls"),
            JAVA_LONG.withName("log_records_dropped"),
            JAVA_LONG.withName("host_bytes_in_use"),
            JAVA_LONG.withName("host_bytes_peak"),
            JAVA_LONG.withName("host_bytes_pooled"),
            JAVA_LONG.withName("device_bytes_in_use"),
            JAVA_LONG.withName("device_bytes_peak"),
            JAVA_LONG.withName("device_bytes_reserved"),
            JAVA_LONG.withName("device_synchronizations"));

    static final StructLayout LOG_RECORD = struct(
            "smpo_log_record",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("level"),
            JAVA_LONG.withName("unix_nanos"),
            text("message", 240));

    static final StructLayout TENSOR_SPEC = struct(
            "smpo_tensor_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("dtype"),
            JAVA_INT.withName("rank"),
            JAVA_INT.withName("reserved"),
            MemoryLayout.sequenceLayout(MAX_RANK, JAVA_LONG).withName("shape"));

    // ---- library and machine ----

    private static final MethodHandle ABI_VERSION_OF = bind("smpo_abi_version", ADDRESS, ADDRESS);

    static int abiVersion(MemorySegment version, MemorySegment error) {
        try {
            return (int) ABI_VERSION_OF.invokeExact(version, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle ABI_HEADER_SHA256 = bind("smpo_abi_header_sha256", ADDRESS, JAVA_INT, ADDRESS);

    static int abiHeaderSha256(MemorySegment text, int capacity, MemorySegment error) {
        try {
            return (int) ABI_HEADER_SHA256.invokeExact(text, capacity, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle LIBRARY_DESCRIBE = bind("smpo_library_describe", ADDRESS, ADDRESS);

    static int libraryDescribe(MemorySegment info, MemorySegment error) {
        try {
            return (int) LIBRARY_DESCRIBE.invokeExact(info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CPU_DESCRIBE = bind("smpo_cpu_describe", ADDRESS, ADDRESS);

    static int cpuDescribe(MemorySegment info, MemorySegment error) {
        try {
            return (int) CPU_DESCRIBE.invokeExact(info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CUDA_DESCRIBE = bind("smpo_cuda_describe", ADDRESS, ADDRESS);

    static int cudaDescribe(MemorySegment info, MemorySegment error) {
        try {
            return (int) CUDA_DESCRIBE.invokeExact(info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CUDA_DEVICE_DESCRIBE =
            bind("smpo_cuda_device_describe", JAVA_INT, ADDRESS, ADDRESS);

    static int cudaDeviceDescribe(int index, MemorySegment info, MemorySegment error) {
        try {
            return (int) CUDA_DEVICE_DESCRIBE.invokeExact(index, info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- session ----

    private static final MethodHandle SESSION_OPEN = bind("smpo_session_open", ADDRESS, ADDRESS, ADDRESS);

    static int sessionOpen(MemorySegment config, MemorySegment session, MemorySegment error) {
        try {
            return (int) SESSION_OPEN.invokeExact(config, session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_CLOSE = bind("smpo_session_close", JAVA_LONG, ADDRESS);

    static int sessionClose(long session, MemorySegment error) {
        try {
            return (int) SESSION_CLOSE.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_CANCEL = bind("smpo_session_cancel", JAVA_LONG, ADDRESS);

    static int sessionCancel(long session, MemorySegment error) {
        try {
            return (int) SESSION_CANCEL.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_SYNCHRONIZE = bind("smpo_session_synchronize", JAVA_LONG, ADDRESS);

    static int sessionSynchronize(long session, MemorySegment error) {
        try {
            return (int) SESSION_SYNCHRONIZE.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_TRIM = bind("smpo_session_trim", JAVA_LONG, ADDRESS);

    static int sessionTrim(long session, MemorySegment error) {
        try {
            return (int) SESSION_TRIM.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_DESCRIBE = bind("smpo_session_describe", JAVA_LONG, ADDRESS, ADDRESS);

    static int sessionDescribe(long session, MemorySegment statistics, MemorySegment error) {
        try {
            return (int) SESSION_DESCRIBE.invokeExact(session, statistics, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_DRAIN_LOG =
            bind("smpo_session_drain_log", JAVA_LONG, ADDRESS, JAVA_INT, ADDRESS, ADDRESS);

    static int sessionDrainLog(
            long session, MemorySegment records, int capacity, MemorySegment count, MemorySegment error) {
        try {
            return (int) SESSION_DRAIN_LOG.invokeExact(session, records, capacity, count, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle DEBUG_RAISE = bind("smpo_debug_raise", JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS);

    static int debugRaise(long session, int kind, int status, MemorySegment error) {
        try {
            return (int) DEBUG_RAISE.invokeExact(session, kind, status, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- tensors ----

    private static final MethodHandle TENSOR_ZEROS = bind("smpo_tensor_zeros", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int tensorZeros(long session, MemorySegment spec, MemorySegment tensor, MemorySegment error) {
        try {
            return (int) TENSOR_ZEROS.invokeExact(session, spec, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_FROM_HOST =
            bind("smpo_tensor_from_host", JAVA_LONG, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS);

    static int tensorFromHost(
            long session,
            MemorySegment spec,
            MemorySegment data,
            long bytes,
            MemorySegment tensor,
            MemorySegment error) {
        try {
            return (int) TENSOR_FROM_HOST.invokeExact(session, spec, data, bytes, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_TO_HOST =
            bind("smpo_tensor_to_host", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);

    static int tensorToHost(
            long session, long tensor, MemorySegment spec, MemorySegment data, long bytes, MemorySegment error) {
        try {
            return (int) TENSOR_TO_HOST.invokeExact(session, tensor, spec, data, bytes, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_DESCRIBE =
            bind("smpo_tensor_describe", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int tensorDescribe(long session, long tensor, MemorySegment spec, MemorySegment error) {
        try {
            return (int) TENSOR_DESCRIBE.invokeExact(session, tensor, spec, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_CONVERT =
            bind("smpo_tensor_convert", JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS);

    static int tensorConvert(long session, long tensor, int dtype, MemorySegment converted, MemorySegment error) {
        try {
            return (int) TENSOR_CONVERT.invokeExact(session, tensor, dtype, converted, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_FILL_NORMAL =
            bind("smpo_tensor_fill_normal", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS);

    static int tensorFillNormal(
            long session, long tensor, int purpose, int step, MemorySegment items, long count, MemorySegment error) {
        try {
            return (int) TENSOR_FILL_NORMAL.invokeExact(session, tensor, purpose, step, items, count, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_CLOSE = bind("smpo_tensor_close", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int tensorClose(long session, long tensor, MemorySegment error) {
        try {
            return (int) TENSOR_CLOSE.invokeExact(session, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private Native() {}

    /// Every function bound here, by C name, in the order of this file.
    static Map<String, FunctionDescriptor> functions() {
        return Collections.unmodifiableMap(FUNCTIONS);
    }

    /// Every struct laid out here, by C name.
    static Map<String, StructLayout> structs() {
        return Collections.unmodifiableMap(STRUCTS);
    }

    private static StructLayout struct(String name, MemoryLayout... fields) {
        StructLayout layout = MemoryLayout.structLayout(fields).withName(name);
        STRUCTS.put(name, layout);
        return layout;
    }

    private static SequenceLayout text(String name, long bytes) {
        return MemoryLayout.sequenceLayout(bytes, JAVA_BYTE).withName(name);
    }

    @SuppressWarnings("restricted")
    private static MethodHandle bind(String name, ValueLayout... parameters) {
        FunctionDescriptor descriptor = FunctionDescriptor.of(JAVA_INT, parameters);
        FUNCTIONS.put(name, descriptor);
        Abi abi = Abi.loaded();
        if (abi.problem().isPresent()) {
            return failing(descriptor.toMethodType(), abi.problem().get());
        }
        Optional<MemorySegment> symbol = abi.symbols().find(name);
        return symbol.map(address -> LINKER.downcallHandle(address, descriptor))
                .orElseGet(() -> failing(
                        descriptor.toMethodType(),
                        new UnsatisfiedLinkError(abi.file() + " does not export " + name + "; " + Abi.REBUILD)));
    }

    /// A handle of the given type that throws. So this class can always be initialised, and the thousandth call
    /// says what the first one said.
    private static MethodHandle failing(MethodType type, LinkageError problem) {
        MethodHandle thrower = MethodHandles.throwException(type.returnType(), LinkageError.class)
                .bindTo(problem);
        return MethodHandles.dropArguments(thrower, 0, type.parameterArray());
    }

    /// `invokeExact` declares `Throwable`, yet a downcall raises only what is unchecked.
    private static RuntimeException rethrown(Throwable e) {
        if (e instanceof RuntimeException unchecked) {
            return unchecked;
        }
        if (e instanceof Error error) {
            throw error;
        }
        throw new AssertionError("a downcall raised a checked exception", e);
    }
}
