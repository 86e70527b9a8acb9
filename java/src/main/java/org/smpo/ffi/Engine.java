package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.smpo.io.DType;

/// A session with the native engine on one device. It creates tensors and everything else that computes.
///
/// It belongs only to the platform thread that opened it; other threads may call only [#cancel()] and
/// [#isClosed()]. Closing the engine closes all its tensors, models, samplers and optimizers.
///
/// Every method throws an [InvalidHandleException] once the engine is closed, a
/// [NotOwnerThreadException] on another thread and, after a [DeviceFaultException], a
/// [PoisonedSessionException]. These are not repeated below.
public final class Engine extends Handle {
    private static final System.Logger LOGGER = System.getLogger("org.smpo.engine");
    private static final int LOG_BATCH = 64;
    private static final int RESULTS = 2;
    private static final int LONGEST_NAME = 1023;
    private static final int SHOWN_NAME = 80;
    private static final long SPEC_DTYPE = Native.TENSOR_SPEC.byteOffset(PathElement.groupElement("dtype"));
    private static final long SPEC_RANK = Native.TENSOR_SPEC.byteOffset(PathElement.groupElement("rank"));
    private static final long SPEC_SHAPE = Native.TENSOR_SPEC.byteOffset(PathElement.groupElement("shape"));

    // Allocated once per session and reused by every call: an arena per call would cost four times the
    // call itself. This is safe because the arena is confined to the one thread that may call.
    private final Arena arena;
    private final Struct error;
    private final MemorySegment spec;
    private final MemorySegment result;
    private final MemorySegment name;
    private final Struct unetInputs;
    private final Staging staging = new Staging();
    private final EngineConfig config;

    private Engine(EngineConfig config, Arena arena, Struct error, long id) {
        super(new Session(), id, "Engine on " + config.device(), null);
        this.config = config;
        this.arena = arena;
        this.error = error;
        this.spec = Struct.allocate(Native.TENSOR_SPEC, arena).segment();
        this.result = arena.allocate(JAVA_LONG, RESULTS);
        this.name = arena.allocate(LONGEST_NAME + 1L);
        this.unetInputs = Struct.allocate(Native.UNET_INPUTS, arena);
    }

    /// Opens a session that belongs to the calling thread.
    ///
    /// @throws InvalidArgumentException when a value of the configuration is out of range
    /// @throws NotSupportedException when the device cannot be used, with the reason
    /// @throws NotOwnerThreadException on a virtual thread: it moves between operating-system threads,
    ///     by which the library identifies the owner
    /// @throws LinkageError when the library is missing or does not match these classes
    public static Engine open(EngineConfig config) {
        Objects.requireNonNull(config, "config");
        if (Thread.currentThread().isVirtual()) {
            throw new NotOwnerThreadException(
                    "Engine: expected a platform thread, got a virtual one, which cannot own an engine", 0);
        }
        Arena arena = Arena.ofConfined();
        try {
            Struct error = Struct.allocate(Native.ERROR, arena);
            Struct settings = Struct.allocate(Native.SESSION_CONFIG, arena);
            settings.set("device_type", config.device().type().code());
            settings.set("device_index", config.device().index());
            settings.set("threads", config.threads());
            settings.set("seed", config.seed());
            settings.set("deterministic", config.deterministic() ? 1 : 0);
            settings.set("log_level", config.logLevel().code());
            settings.set("log_capacity", config.logCapacity());
            MemorySegment session = arena.allocate(JAVA_LONG);
            Errors.check(Native.sessionOpen(settings.segment(), session, error.segment()), error, "smpo_session_open");
            Engine engine = new Engine(config, arena, error, session.get(JAVA_LONG, 0));
            ProcessExit.guard(engine.session());
            return engine;
        } catch (Throwable e) {
            arena.close();
            throw e;
        }
    }

    /// Returns the configuration that the engine was opened with. May be called from any thread.
    public EngineConfig config() {
        return config;
    }

    /// Returns a new row-major tensor of zeros.
    ///
    /// @param shape Sizes, each 0 or more; up to eight, none for a scalar
    /// @throws InvalidArgumentException when a size is negative or there are more than eight
    /// @throws EngineOutOfMemoryException when the tensor does not fit in memory
    public DeviceTensor zeros(DType dtype, long... shape) {
        long session = enter();
        MemorySegment spec = spec(dtype, shape);
        Errors.check(Native.tensorZeros(session, spec, result, error.segment()), error, "smpo_tensor_zeros");
        return created(dtype, shape);
    }

    /// Returns a new tensor with a copy of `data`, row-major and little-endian.
    ///
    /// Native memory is read in place. A segment of the Java heap or of a mapped file is first copied to
    /// native memory: if a file shrinks while it is read, Java throws an [InternalError] and the library
    /// does not crash.
    ///
    /// @param data Exactly the tensor's bytes; not needed after this method returns
    /// @param shape Sizes, as in [#zeros]
    /// @throws ShapeMismatchException when the size of `data` differs from the size that the shape needs
    /// @throws InvalidArgumentException when a size is negative or there are more than eight
    /// @throws EngineOutOfMemoryException when the tensor does not fit in memory
    public DeviceTensor fromHost(DType dtype, MemorySegment data, long... shape) {
        Objects.requireNonNull(data, "data");
        long session = enter();
        MemorySegment spec = spec(dtype, shape);
        try {
            MemorySegment source =
                    readableInPlace(data) ? data : staging.take(data.byteSize()).copyFrom(data);
            Errors.check(
                    Native.tensorFromHost(session, spec, source, source.byteSize(), result, error.segment()),
                    error,
                    "smpo_tensor_from_host");
        } finally {
            staging.settle();
        }
        return created(dtype, shape);
    }

    /// Returns a new F32 tensor with a copy of `data`; otherwise as [#fromHost(DType, MemorySegment,
    /// long...)].
    public DeviceTensor fromHost(float[] data, long... shape) {
        return fromHost(DType.F32, MemorySegment.ofArray(data), shape);
    }

    /// Returns a new I32 tensor with a copy of `data`; otherwise as [#fromHost(DType, MemorySegment,
    /// long...)].
    public DeviceTensor fromHost(int[] data, long... shape) {
        return fromHost(DType.I32, MemorySegment.ofArray(data), shape);
    }

    /// Returns a new I64 tensor with a copy of `data`; otherwise as [#fromHost(DType, MemorySegment,
    /// long...)].
    public DeviceTensor fromHost(long[] data, long... shape) {
        return fromHost(DType.I64, MemorySegment.ofArray(data), shape);
    }

    /// Returns the counters of this session and of the memory pools.
    public EngineStatistics statistics() {
        long session = enter();
        Struct statistics = scratch(Native.SESSION_STATISTICS);
        Errors.check(
                Native.sessionDescribe(session, statistics.segment(), error.segment()), error, "smpo_session_describe");
        return EngineStatistics.read(statistics);
    }

    /// Removes and returns all log records kept since the last call, oldest first. When the engine
    /// closes, remaining warnings and errors go to the logger `org.smpo.engine`.
    public List<LogRecord> drainLog() {
        return drainLog(enter());
    }

    private List<LogRecord> drainLog(long session) {
        long stride = Native.LOG_RECORD.byteSize();
        MemorySegment records = staging.take(LOG_BATCH * stride);
        List<LogRecord> drained = new ArrayList<>();
        int count;
        do {
            for (int i = 0; i < LOG_BATCH; i++) {
                new Struct(Native.LOG_RECORD, records.asSlice(i * stride, stride)).set("size", (int) stride);
            }
            Errors.check(
                    Native.sessionDrainLog(session, records, LOG_BATCH, result, error.segment()),
                    error,
                    "smpo_session_drain_log");
            count = result.get(JAVA_INT, 0);
            for (int i = 0; i < count; i++) {
                drained.add(LogRecord.read(records.asSlice(i * stride, stride)));
            }
        } while (count == LOG_BATCH);
        return drained;
    }

    /// Stops the operation in flight, or else the next one that can be cancelled, at its next safe
    /// point. That operation throws a [CancelledException], which consumes the request. May be called
    /// from any thread, including virtual ones.
    ///
    /// @return false when the engine is closed and there is nothing to cancel
    public boolean cancel() {
        if (isClosed()) {
            return false;
        }
        // No error struct is passed: the session's own struct belongs to the owner's thread, and the
        // status is sufficient.
        int status = Native.sessionCancel(uncheckedId(), MemorySegment.NULL);
        if (status == Status.INVALID_HANDLE.code()) {
            return false; // closed by its owner since the check above
        }
        Errors.check(status, null, "smpo_session_cancel");
        return true;
    }

    /// Waits until all queued device work is done. Does nothing on the CPU.
    public void synchronize() {
        Errors.check(Native.sessionSynchronize(enter(), error.segment()), error, "smpo_session_synchronize");
    }

    /// Returns memory that the pools keep for reuse to the operating system or the device.
    public void trim() {
        long session = enter();
        staging.close();
        Errors.check(Native.sessionTrim(session, error.segment()), error, "smpo_session_trim");
    }

    /// Queries the library's `SMPO_ABI_VERSION` again. This is the cheapest native call and therefore
    /// measures the cost of a call.
    public int abiVersion() {
        enter();
        Errors.check(Native.abiVersion(result, error.segment()), error, "smpo_abi_version");
        return result.get(JAVA_INT, 0);
    }

    /// Makes the library raise an error of the given kind (`SMPO_RAISE_*`), to test how errors are
    /// reported.
    void raise(int kind, int status) {
        Errors.check(Native.debugRaise(enter(), kind, status, error.segment()), error, "smpo_debug_raise");
    }

    // ---- tensor operations, which are here because the scratch memory is here ----

    void copyToHost(DeviceTensor tensor, DType dtype, MemorySegment data) {
        Objects.requireNonNull(data, "data");
        if (data.isReadOnly()) {
            throw new InvalidArgumentException(
                    "copyToHost: data: expected writable memory, got a read-only segment", 0);
        }
        long id = own(tensor);
        long session = enter();
        MemorySegment spec = spec(dtype, tensor.shape());
        boolean inPlace = readableInPlace(data);
        try {
            MemorySegment target = inPlace ? data : staging.take(data.byteSize());
            Errors.check(
                    Native.tensorToHost(session, id, spec, target, target.byteSize(), error.segment()),
                    error,
                    "smpo_tensor_to_host");
            if (!inPlace) {
                data.copyFrom(target);
            }
        } finally {
            staging.settle();
        }
    }

    DeviceTensor convert(DeviceTensor tensor, DType dtype) {
        Objects.requireNonNull(dtype, "dtype");
        long id = own(tensor);
        long session = enter();
        Errors.check(
                Native.tensorConvert(session, id, DTypeCode.of(dtype), result, error.segment()),
                error,
                "smpo_tensor_convert");
        return created(dtype, tensor.shape());
    }

    void fillNormal(DeviceTensor tensor, int purpose, long step, long[] items) {
        Objects.requireNonNull(items, "items");
        if (step != Integer.toUnsignedLong((int) step)) {
            throw new InvalidArgumentException("fillNormal: step: expected 0..4294967295, got " + step, 0);
        }
        long id = own(tensor);
        long session = enter();
        try {
            MemorySegment source =
                    staging.take(items.length * JAVA_LONG.byteSize()).copyFrom(MemorySegment.ofArray(items));
            Errors.check(
                    Native.tensorFillNormal(session, id, purpose, (int) step, source, items.length, error.segment()),
                    error,
                    "smpo_tensor_fill_normal");
        } finally {
            staging.settle();
        }
    }

    void close(Closer closer, long id, String function) {
        int status = closer.close(enter(), id, error.segment());
        // A poisoned session frees its handles when it is closed, so this is not an error of the caller
        // who cleans up.
        if (status != Status.SESSION_POISONED.code()) {
            Errors.check(status, error, function);
        }
    }

    // ---- scratch memory and checks for models, samplers and optimizers, which compute on this engine
    // ----

    /// Returns the error struct that every call of this session uses.
    Struct error() {
        return error;
    }

    /// Returns the memory in which calls store the handles that they create: room for two.
    MemorySegment result() {
        return result;
    }

    Staging staging() {
        return staging;
    }

    /// Returns a struct for one call, zeroed except for its size; valid until the staging memory is used
    /// again.
    Struct scratch(StructLayout layout) {
        return Struct.allocate(layout, (bytes, alignment) -> staging.take(bytes).fill((byte) 0));
    }

    /// Returns the text as a C string, valid until the next call of this method.
    ///
    /// @throws InvalidArgumentException when the text is longer than the longest allowed name, or
    ///     contains a zero
    MemorySegment name(String text) {
        Objects.requireNonNull(text, "name");
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        if (bytes.length > LONGEST_NAME || text.indexOf(0) >= 0) {
            throw new InvalidArgumentException(
                    "name: expected at most " + LONGEST_NAME + " bytes and no zero among them, got " + bytes.length
                            + " bytes: " + text.substring(0, Math.min(text.length(), SHOWN_NAME)),
                    0);
        }
        name.setString(0, text);
        return name;
    }

    /// Returns the inputs as a native struct, valid until the next call of this method.
    MemorySegment inputs(UNetInputs inputs) {
        return inputs(inputs, false);
    }

    /// Returns the same struct for a backward pass.
    ///
    /// @param sampleOnly whether gradients of parameters stay as they are
    MemorySegment inputs(UNetInputs inputs, boolean sampleOnly) {
        unetInputs.set("sample_only", sampleOnly ? 1 : 0);
        unetInputs.set("sample", own(inputs.sample()));
        unetInputs.set("timesteps", own(inputs.timesteps()));
        unetInputs.set("encoder_hidden_states", own(inputs.encoderHiddenStates()));
        unetInputs.set("text_embeds", ownOrNone(inputs.textEmbeds()));
        unetInputs.set("time_ids", ownOrNone(inputs.timeIds()));
        return unetInputs.segment();
    }

    /// Returns the tensor that a call stored in entry `index` of [#result()].
    DeviceTensor adopt(int index) {
        long id = result.getAtIndex(JAVA_LONG, index);
        Struct described = new Struct(Native.TENSOR_SPEC, spec);
        Errors.check(Native.tensorDescribe(id(), id, spec, error.segment()), error, "smpo_tensor_describe");
        long[] shape = described.getLongs("shape", described.getInt("rank")).stream()
                .mapToLong(Long::longValue)
                .toArray();
        return new DeviceTensor(this, id, DTypeCode.dtype(described.getInt("dtype")), shape);
    }

    /// Returns the native handle of a tensor that must belong to this engine, or 0 for null.
    long ownOrNone(DeviceTensor tensor) {
        return tensor == null ? 0 : own(tensor);
    }

    /// Passes warnings and errors to the logger `org.smpo.engine`, which by default prints them to
    /// standard error.
    static void report(List<LogRecord> records) {
        for (LogRecord record : records) {
            switch (record.level()) {
                case DEBUG, INFO -> {}
                case WARNING -> LOGGER.log(System.Logger.Level.WARNING, record.message());
                case ERROR -> LOGGER.log(System.Logger.Level.ERROR, record.message());
            }
        }
    }

    private void reportLastLog(long session) {
        try {
            report(drainLog(session));
        } catch (EngineException e) {
            // A poisoned session has already reported its failure by an exception.
            LOGGER.log(System.Logger.Level.DEBUG, "the engine's log is lost", e);
        }
    }

    @Override
    void release(long id) {
        session().closed = true;
        try (arena) {
            reportLastLog(id);
            staging.close();
            Errors.check(Native.sessionClose(id, error.segment()), error, "smpo_session_close");
        } finally {
            ProcessExit.release(session());
        }
    }

    /// Returns the session's native handle for an immediate call, after closing leaked handles.
    long enter() {
        long id = id();
        Session session = session();
        if (session.leaked) {
            session.leaked = false; // before the queue is emptied: what is added meanwhile sets it again
            for (Abandoned lost = session.abandoned.poll(); lost != null; lost = session.abandoned.poll()) {
                lost.closer().close(id, lost.id(), MemorySegment.NULL);
            }
        }
        return id;
    }

    /// Returns the native handle of a tensor that must belong to this engine.
    long own(DeviceTensor tensor) {
        if (tensor.engine() != this) {
            throw new InvalidHandleException(tensor + ": belongs to another engine than this " + this, 0);
        }
        return tensor.id();
    }

    /// Returns the handle of a model.
    ///
    /// @throws InvalidHandleException when it belongs to another engine
    long own(NativeModel model) {
        if (model.engine() != this) {
            throw new InvalidHandleException(model + ": belongs to another engine than this " + this, 0);
        }
        return model.id();
    }

    private DeviceTensor created(DType dtype, long[] shape) {
        return new DeviceTensor(this, result.get(JAVA_LONG, 0), dtype, shape.clone());
    }

    MemorySegment spec(DType dtype, long[] shape) {
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(shape, "shape");
        if (shape.length > Native.MAX_RANK) {
            throw new InvalidArgumentException(
                    "shape: expected at most " + Native.MAX_RANK + " sizes, got " + shape.length, 0);
        }
        spec.set(JAVA_INT, SPEC_DTYPE, DTypeCode.of(dtype));
        spec.set(JAVA_INT, SPEC_RANK, shape.length);
        for (int i = 0; i < Native.MAX_RANK; i++) {
            spec.set(JAVA_LONG, SPEC_SHAPE + i * JAVA_LONG.byteSize(), i < shape.length ? shape[i] : 0);
        }
        return spec;
    }

    /// Returns the memory of a buffer's remaining elements. A view of direct memory, such as a
    /// FloatBuffer, is copied, because it does not tell whether it is a view of a mapped file.
    static MemorySegment segmentOf(Buffer data) {
        MemorySegment memory = MemorySegment.ofBuffer(data);
        return data.isDirect() && !(data instanceof ByteBuffer)
                ? MemorySegment.ofArray(memory.toArray(ValueLayout.JAVA_BYTE))
                : memory;
    }

    /// Returns whether the library may access this memory directly. It may not access heap memory, which
    /// moves, or a mapped file, whose pages disappear when another process truncates it (a bus error
    /// inside the library, an exception in Java).
    static boolean readableInPlace(MemorySegment data) {
        return data.isNative() && !data.isMapped();
    }
}
