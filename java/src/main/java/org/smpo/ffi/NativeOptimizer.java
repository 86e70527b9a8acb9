package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.MemorySegment;
import java.nio.Buffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import org.smpo.io.DType;

/// An update rule with its state for the trainable parameters of one model. Belongs to the engine's
/// thread.
///
/// A checkpoint keeps the state and the number of steps beside the weights. Written to an optimizer with
/// the same options, on a model with the same weights, they resume the run bit for bit.
public final class NativeOptimizer extends Handle {
    private static final int LONGEST_PARAMETER = 192;

    private final Engine engine;

    private NativeOptimizer(Engine engine, long id, String rule) {
        super(
                engine.session(),
                id,
                "NativeOptimizer " + rule + " on " + engine.config().device(),
                Native::optimizerClose);
        this.engine = engine;
    }

    /// Opens an optimizer of the model's adapters or, without adapters, of its own parameters. Moments
    /// start at zero, and the EMA at the current weights. The optimizer keeps the model alive, so its
    /// handle may be closed. A model has one optimizer at a time; its adapters cannot be merged while
    /// the optimizer is open.
    ///
    /// @throws InvalidArgumentException when nothing is trainable, a parameter was never written, the
    ///     model already has an optimizer, or a number is out of range
    /// @throws EngineOutOfMemoryException when the state does not fit
    public static NativeOptimizer open(NativeModel model, OptimizerOptions options) {
        return open(model, options, null);
    }

    /// Opens an optimizer whose state the ranks of a group share: each keeps and updates its part, and all
    /// have the weights of an optimizer that keeps everything, bit for bit. All ranks then call [#step],
    /// [#read] and [#copyEma] in the same order, and each of them may throw a [PeerLostException].
    ///
    /// @param group the ranks, on the model's engine; null to keep everything here
    /// @throws InvalidArgumentException for Adafactor with a group, and as in
    ///     [#open(NativeModel, OptimizerOptions)]
    public static NativeOptimizer open(NativeModel model, OptimizerOptions options, ProcessGroup group) {
        Engine engine = model.engine();
        Objects.requireNonNull(options, "options");
        long id = model.id();
        long session = engine.enter();
        Struct struct = engine.scratch(Native.OPTIMIZER_OPTIONS);
        options.write(struct);
        struct.set("comm", group == null ? 0L : group.id());
        Errors.check(
                Native.optimizerOpen(
                        session,
                        id,
                        struct.segment(),
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_optimizer_open");
        String rule = options.rule().getClass().getSimpleName().toLowerCase(Locale.ROOT);
        return new NativeOptimizer(engine, engine.result().get(JAVA_LONG, 0), rule);
    }

    /// Makes one update from the sum of the gradients, then sets the gradients to zero. If they are not
    /// finite, nothing changes and the outcome reports it; [#findNonFinite()] then names a parameter
    /// that caused it.
    ///
    /// @param learningRate Learning rate, 0 or more
    /// @param maxGradNorm Norm to which gradients are clipped, above 0; infinity disables clipping
    /// @throws InvalidArgumentException when an argument is out of range
    public StepOutcome step(double learningRate, double maxGradNorm) {
        long id = id();
        long session = engine.enter();
        Struct outcome = engine.scratch(Native.STEP_OUTCOME);
        Errors.check(
                Native.optimizerStep(
                        session,
                        id,
                        learningRate,
                        maxGradNorm,
                        outcome.segment(),
                        engine.error().segment()),
                engine.error(),
                "smpo_optimizer_step");
        return StepOutcome.read(outcome);
    }

    /// Returns the first parameter whose gradient has a value that is not finite.
    public Optional<String> findNonFinite() {
        long id = id();
        long session = engine.enter();
        MemorySegment name = engine.staging().take(LONGEST_PARAMETER);
        Errors.check(
                Native.optimizerFindNonFinite(
                        session, id, name, LONGEST_PARAMETER, engine.error().segment()),
                engine.error(),
                "smpo_optimizer_find_non_finite");
        return Optional.of(name.getString(0)).filter(found -> !found.isEmpty());
    }

    /// Number of updates made.
    public long steps() {
        return info().getLong("steps");
    }

    /// Sets the number of updates already made; the next update has the number after it.
    ///
    /// @param steps Number of updates, 0 or more
    public void setSteps(long steps) {
        long id = id();
        Errors.check(
                Native.optimizerSetSteps(
                        engine.enter(), id, steps, engine.error().segment()),
                engine.error(),
                "smpo_optimizer_set_steps");
    }

    /// Size of the part of the state that this process keeps on the device, in bytes.
    public long bytes() {
        return info().getLong("bytes");
    }

    /// All tensors of the state, grouped by kind, each kind in the order of the parameters.
    public List<StateInfo> states() {
        int count = info().getInt("state_count");
        long id = id();
        long session = engine.enter();
        List<StateInfo> states = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            Struct info = engine.scratch(Native.STATE_INFO);
            Errors.check(
                    Native.optimizerState(
                            session, id, i, info.segment(), engine.error().segment()),
                    engine.error(),
                    "smpo_optimizer_state");
            states.add(StateInfo.read(info));
        }
        return states;
    }

    /// Copies a tensor of the state to `data`: F32, row-major.
    ///
    /// @param data Writable memory, exactly as many bytes as the shape needs
    public void read(StateInfo state, MemorySegment data) {
        Objects.requireNonNull(data, "data");
        if (data.isReadOnly()) {
            throw new InvalidArgumentException("read: data: expected writable memory, got a read-only segment", 0);
        }
        long id = id();
        long session = engine.enter();
        MemorySegment name = engine.name(state.name());
        MemorySegment spec = spec(state);
        boolean inPlace = Engine.readableInPlace(data);
        try {
            MemorySegment target = inPlace ? data : engine.staging().take(data.byteSize());
            Errors.check(
                    Native.optimizerReadState(
                            session,
                            id,
                            name,
                            spec,
                            target,
                            target.byteSize(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_optimizer_read_state");
            if (!inPlace) {
                data.copyFrom(target);
            }
        } finally {
            engine.staging().settle();
        }
    }

    /// Returns the values of a tensor of the state.
    ///
    /// @throws InvalidArgumentException for an unknown name, or when an array cannot hold the values
    public float[] read(StateInfo state) {
        if (state.elements() > Integer.MAX_VALUE - 8) {
            throw new InvalidArgumentException(state.name() + ": has more elements than a Java array can hold", 0);
        }
        float[] values = new float[(int) state.elements()];
        read(state, MemorySegment.ofArray(values));
        return values;
    }

    /// Writes the values of a tensor of the state.
    ///
    /// @param data Values, F32, row-major, little-endian, exactly as many bytes as the shape needs
    /// @throws InvalidArgumentException for an unknown name, or a second moment with a negative value
    /// @throws ShapeMismatchException with both shapes
    /// @throws NonFiniteException with the index of the first value that is NaN or infinite
    public void write(StateInfo state, MemorySegment data) {
        Objects.requireNonNull(data, "data");
        long id = id();
        long session = engine.enter();
        MemorySegment name = engine.name(state.name());
        MemorySegment spec = spec(state);
        try {
            MemorySegment source = Engine.readableInPlace(data)
                    ? data
                    : engine.staging().take(data.byteSize()).copyFrom(data);
            Errors.check(
                    Native.optimizerWriteState(
                            session,
                            id,
                            name,
                            spec,
                            source,
                            source.byteSize(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_optimizer_write_state");
        } finally {
            engine.staging().settle();
        }
    }

    /// Writes a tensor's values from a buffer's position to its limit, neither of which changes.
    public void write(StateInfo state, Buffer data) {
        write(state, MemorySegment.ofBuffer(data));
    }

    /// Writes the EMA weights into another model's parameters of the same names and shapes. Its other
    /// parameters do not change.
    ///
    /// @throws InvalidArgumentException without an EMA, or for a model that lacks a parameter
    /// @throws ShapeMismatchException naming the parameter that has another shape
    public void copyEma(NativeModel target) {
        if (target.engine() != engine) {
            throw new InvalidHandleException(target + ": belongs to another engine than this " + this, 0);
        }
        long model = target.id();
        long id = id();
        Errors.check(
                Native.optimizerCopyEma(
                        engine.enter(), id, model, engine.error().segment()),
                engine.error(),
                "smpo_optimizer_copy_ema");
    }

    @Override
    void release(long id) {
        engine.close(Native::optimizerClose, id, "smpo_optimizer_close");
    }

    private Struct info() {
        long id = id();
        long session = engine.enter();
        Struct info = engine.scratch(Native.OPTIMIZER_INFO);
        Errors.check(
                Native.optimizerDescribe(
                        session, id, info.segment(), engine.error().segment()),
                engine.error(),
                "smpo_optimizer_describe");
        return info;
    }

    private MemorySegment spec(StateInfo state) {
        return engine.spec(
                DType.F32, state.shape().stream().mapToLong(Long::longValue).toArray());
    }
}
