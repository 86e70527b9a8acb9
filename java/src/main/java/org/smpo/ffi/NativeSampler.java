package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import org.smpo.schedule.CleanLatents;
import org.smpo.schedule.SamplerPlan;

/// A sampling run, which turns noise into latents step by step. Belongs to the engine's thread.
///
/// Noise that the plan adds between steps is numbered as in [DeviceTensor#fillNormal], with purpose 8,
/// the row's index as the step, and the items of the inputs. So it does not depend on the batch.
public final class NativeSampler extends Handle {
    private final Engine engine;
    private final int steps;
    private final int images;

    private NativeSampler(Engine engine, long id, int steps, int images) {
        super(
                engine.session(),
                id,
                "NativeSampler of " + steps + " steps on " + engine.config().device(),
                Native::samplerClose);
        this.engine = engine;
        this.steps = steps;
        this.images = images;
    }

    /// Starts a run. It keeps what it needs, so the models and the tensors may be closed.
    ///
    /// @throws ShapeMismatchException naming the input that does not fit
    /// @throws InvalidArgumentException when a number is out of range
    public static NativeSampler open(NativeModel unet, SamplerPlan plan, SamplerInputs inputs) {
        Engine engine = unet.engine();
        Objects.requireNonNull(plan, "plan");
        Objects.requireNonNull(inputs, "inputs");
        long model = unet.id();
        long session = engine.enter();
        // A run takes seconds; the cost of an arena for opening it is negligible.
        try (Arena arena = Arena.ofConfined()) {
            Struct struct = Struct.allocate(Native.SAMPLER_PLAN, arena);
            struct.set("steps", plan.steps());
            struct.set("initial_noise_scale", plan.initialNoiseScale());
            struct.set("rows", rows(arena, plan));
            Errors.check(
                    Native.samplerOpen(
                            session,
                            model,
                            struct.segment(),
                            inputs(engine, arena, inputs),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_sampler_open");
            return new NativeSampler(
                    engine,
                    engine.result().get(JAVA_LONG, 0),
                    plan.steps(),
                    Math.toIntExact(inputs.noise().shape()[0]));
        }
    }

    private static MemorySegment rows(Arena arena, SamplerPlan plan) {
        long stride = Native.SAMPLER_ROW.byteSize();
        MemorySegment rows = arena.allocate(Native.SAMPLER_ROW, plan.steps());
        for (int i = 0; i < plan.steps(); i++) {
            Struct row = new Struct(Native.SAMPLER_ROW, rows.asSlice(i * stride, stride));
            row.set("size", Math.toIntExact(stride));
            row.set("saves", plan.saves(i) ? 1 : 0);
            row.set("keeps", plan.keeps(i) ? 1 : 0);
            row.set("drops", plan.drops(i));
            row.set("timestep", plan.timestep(i));
            row.set("input_scale", plan.inputScale(i));
            row.set("history_sample", plan.historySampleCoefficient(i));
            row.set("history_output", plan.historyOutputCoefficient(i));
            row.set("sample", plan.sampleCoefficient(i));
            row.set("saved", plan.savedCoefficient(i));
            row.set("noise", plan.noiseCoefficient(i));
            for (int back = 0; back < SamplerPlan.MAX_HISTORY; back++) {
                row.set("history", back, plan.historyCoefficient(i, back));
            }
        }
        return rows;
    }

    private static MemorySegment inputs(Engine engine, Arena arena, SamplerInputs inputs) {
        Struct struct = Struct.allocate(Native.SAMPLER_INPUTS, arena);
        struct.set("guidance_scale", inputs.guidanceScale());
        struct.set("guidance_rescale", inputs.guidanceRescale());
        struct.set("noise", engine.own(inputs.noise()));
        SamplerInputs.Condition condition = inputs.condition();
        struct.set("encoder_hidden_states", engine.own(condition.encoderHiddenStates()));
        struct.set("text_embeds", engine.ownOrNone(condition.textEmbeds()));
        struct.set("time_ids", engine.ownOrNone(condition.timeIds()));
        SamplerInputs.Condition negative = inputs.negative();
        if (negative != null) {
            struct.set("negative_encoder_hidden_states", engine.own(negative.encoderHiddenStates()));
            struct.set("negative_text_embeds", engine.ownOrNone(negative.textEmbeds()));
            struct.set("negative_time_ids", engine.ownOrNone(negative.timeIds()));
        }
        switch (inputs.negativeNetwork()) {
            case SamplerInputs.NegativeNetwork.Same() -> {}
            case SamplerInputs.NegativeNetwork.Other(NativeModel unet) ->
                struct.set("negative_model", engine.own(unet));
            case SamplerInputs.NegativeNetwork.Adapters() -> struct.set("negative_adapters", 1);
        }
        if (inputs.items() != null) {
            // The library reads one item for each row of the batch.
            long batch = inputs.noise().shape().length == 0 ? 0 : inputs.noise().shape()[0];
            if (inputs.items().size() != batch) {
                throw new ShapeMismatchException(
                        "SamplerInputs: items: expected one per row of the noise (" + batch + "), got "
                                + inputs.items().size(),
                        0);
            }
            MemorySegment items = arena.allocate(JAVA_LONG, batch);
            for (int i = 0; i < batch; i++) {
                items.setAtIndex(JAVA_LONG, i, inputs.items().get(i));
            }
            struct.set("items", items);
        }
        return struct.segment();
    }

    /// Number of UNet evaluations in the whole run.
    public int steps() {
        return steps;
    }

    /// Runs the next steps of the plan. Can be cancelled between steps; the run then stands after the
    /// last completed step and can continue.
    ///
    /// @param count Number of steps, 1 to the number left
    /// @throws CancelledException after [Engine#cancel()]
    public void step(int count) {
        long id = id();
        Errors.check(
                Native.samplerStep(engine.enter(), id, count, engine.error().segment()),
                engine.error(),
                "smpo_sampler_step");
    }

    /// Makes several candidates for the next step's result, which differ in their noise, and predicts
    /// the step after for each of them. Until [#select], the sampler stands before the step. The plan
    /// must be of a rule of one step that adds noise, such as DDIM's with eta above 0.
    ///
    /// @param items Items that number the noise of the candidates: candidate k of image b is at k * B +
    ///     b
    /// @param clean Clean latents that a prediction implies at the timestep of the step after; null on
    ///     the last step, whose candidates are clean themselves
    /// @return the clean latents of every candidate `[K*B,in_channels,h,w]` F32; the caller closes them
    /// @throws NotSupportedException when the plan is of another kind
    /// @throws CancelledException after [Engine#cancel()]; the sampler is then unchanged
    public DeviceTensor fork(long[] items, CleanLatents clean) {
        long id = id();
        long session = engine.enter();
        requireImages("items", items.length);
        try (Arena arena = Arena.ofConfined()) {
            Struct struct = Struct.allocate(Native.SAMPLER_CANDIDATES, arena);
            struct.set("candidates", items.length / images);
            struct.set("items", arena.allocateFrom(JAVA_LONG, items));
            struct.set("clean_sample", clean == null ? 1 : clean.sample());
            struct.set("clean_output", clean == null ? 0 : clean.output());
            Errors.check(
                    Native.samplerFork(
                            session,
                            id,
                            struct.segment(),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_sampler_fork");
            return engine.adopt(0);
        }
    }

    /// Returns one candidate of each image.
    ///
    /// @param which candidate of each image
    /// @return the latents of these candidates `[B,in_channels,h,w]` F32; the caller closes them
    public DeviceTensor candidate(int[] which) {
        long id = id();
        long session = engine.enter();
        requireOnePerImage("which", which.length);
        try (Arena arena = Arena.ofConfined()) {
            Errors.check(
                    Native.samplerCandidate(
                            session,
                            id,
                            arena.allocateFrom(JAVA_INT, which),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_sampler_candidate");
            return engine.adopt(0);
        }
    }

    /// Adds a candidate of each image: another one, moved. It gets the next number, and predicting the
    /// step after for it takes one evaluation.
    ///
    /// @param which candidate of each image that is moved; it stays as it is
    /// @param move what is added to its latents `[B,in_channels,h,w]` F32
    /// @return the clean latents of the new candidates `[B,in_channels,h,w]` F32; the caller closes them
    /// @throws CancelledException after [Engine#cancel()]; the sampler is then unchanged
    public DeviceTensor addMoved(int[] which, DeviceTensor move) {
        long id = id();
        long moves = engine.own(move);
        long session = engine.enter();
        requireOnePerImage("which", which.length);
        try (Arena arena = Arena.ofConfined()) {
            Errors.check(
                    Native.samplerMove(
                            session,
                            id,
                            arena.allocateFrom(JAVA_INT, which),
                            moves,
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_sampler_move");
            return engine.adopt(0);
        }
    }

    /// Choices between candidates, as [PairBatch#set] takes them with a shared sample.
    ///
    /// @param noised latents before the step, a row for each image that is not left out
    /// @param target targets of the chosen candidates of these images, then of the rejected ones
    public record Pairs(DeviceTensor noised, DeviceTensor target) implements AutoCloseable {
        @Override
        public void close() {
            noised.close();
            target.close();
        }
    }

    /// Returns the tensors that train on choices between candidates.
    ///
    /// @param winner chosen candidate of each image; -1 leaves the image out
    /// @param loser rejected candidate of each image; -1 where the winner is
    /// @return the caller closes them
    public Pairs pairs(int[] winner, int[] loser) {
        long id = id();
        long session = engine.enter();
        requireOnePerImage("winner", winner.length);
        requireOnePerImage("loser", loser.length);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment noised = engine.result();
            Errors.check(
                    Native.samplerPairs(
                            session,
                            id,
                            arena.allocateFrom(JAVA_INT, winner),
                            arena.allocateFrom(JAVA_INT, loser),
                            noised,
                            noised.asSlice(Long.BYTES),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_sampler_pairs");
            return new Pairs(engine.adopt(0), engine.adopt(1));
        }
    }

    /// Continues with one candidate of each image.
    ///
    /// @param chosen candidate of each image
    public void select(int[] chosen) {
        long id = id();
        long session = engine.enter();
        requireOnePerImage("chosen", chosen.length);
        try (Arena arena = Arena.ofConfined()) {
            Errors.check(
                    Native.samplerSelect(
                            session,
                            id,
                            arena.allocateFrom(JAVA_INT, chosen),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_sampler_select");
        }
    }

    private void requireImages(String what, int count) {
        if (count == 0 || count % images != 0) {
            throw new ShapeMismatchException(
                    "NativeSampler: " + what + ": expected the same number for each of the " + images + " images, got "
                            + count,
                    0);
        }
    }

    private void requireOnePerImage(String what, int count) {
        if (count != images) {
            throw new ShapeMismatchException(
                    "NativeSampler: " + what + ": expected one per image (" + images + "), got " + count, 0);
        }
    }

    /// Returns a copy of the current latents.
    ///
    /// @return `[B,in_channels,h,w]` F32; the caller closes it
    public DeviceTensor latents() {
        long id = id();
        Errors.check(
                Native.samplerLatents(
                        engine.enter(), id, engine.result(), engine.error().segment()),
                engine.error(),
                "smpo_sampler_latents");
        return engine.adopt(0);
    }

    @Override
    void release(long id) {
        engine.close(Native::samplerClose, id, "smpo_sampler_close");
    }
}
