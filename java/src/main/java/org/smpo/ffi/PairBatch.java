package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.smpo.objective.BcrBudget;
import org.smpo.objective.Objective;
import org.smpo.objective.PairLoss;
import org.smpo.objective.SdpoSafeguard;
import org.smpo.schedule.ForwardProcess;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.LatentSteps;
import org.smpo.schedule.RolloutPlan;

/// The pairs of one optimizer step on the device: clean latents and prompts, then noised latents and
/// targets, then the results of each pair. Belongs to the engine's thread.
///
/// A batch is opened, noised ([#addNoise]), inverted ([#invert]), rolled out ([#rollOut]) or given its
/// latents ([#set]), accumulated in micro-batches, and read once.
public final class PairBatch extends Handle {
    /// The tensors of a batch, with the header's names and codes.
    public enum Part {
        /// The noised latents, which are the input of policy and reference.
        NOISED(1),
        /// The target of the prediction.
        TARGET(2),
        PREDICTION(3),
        REFERENCE_PREDICTION(4);

        private final int code;

        Part(int code) {
            this.code = code;
        }

        int code() {
            return code;
        }
    }

    private final Engine engine;
    private final int pairs;
    private final boolean single;

    private PairBatch(Engine engine, long id, int pairs, boolean single) {
        super(
                engine.session(),
                id,
                "PairBatch of " + pairs + (single ? " single images" : " pairs") + " on "
                        + engine.config().device(),
                Native::pairBatchClose);
        this.engine = engine;
        this.pairs = pairs;
        this.single = single;
    }

    /// Opens a batch, to be noised or inverted next.
    ///
    /// @throws ShapeMismatchException naming the tensor that does not fit
    public static PairBatch open(Engine engine, PairBatchInputs inputs) {
        long session = engine.enter();
        // A batch lives for seconds; the cost of an arena for opening it is negligible.
        try (Arena arena = Arena.ofConfined()) {
            Struct struct = Struct.allocate(Native.PAIR_BATCH_INPUTS, arena);
            struct.set("pairs", inputs.pairs());
            struct.set("step", inputs.step());
            struct.set("keep_predictions", inputs.keepPredictions() ? 1 : 0);
            struct.set("latents", engine.ownOrNone(inputs.latents()));
            struct.set("encoder_hidden_states", engine.own(inputs.encoderHiddenStates()));
            struct.set("text_embeds", engine.ownOrNone(inputs.textEmbeds()));
            struct.set("time_ids", engine.ownOrNone(inputs.timeIds()));
            struct.set("timesteps", arena.allocateFrom(JAVA_INT, inputs.timesteps()));
            struct.set("items", arena.allocateFrom(JAVA_LONG, inputs.items()));
            struct.set("single_images", inputs.single() ? 1 : 0);
            struct.set("shared_sample", inputs.sharedSample() ? 1 : 0);
            if (inputs.guidance() != null) {
                struct.set("guidance_scale", inputs.guidance().scale());
                struct.set(
                        "negative_encoder_hidden_states",
                        engine.own(inputs.guidance().encoderHiddenStates()));
                struct.set(
                        "negative_text_embeds",
                        engine.ownOrNone(inputs.guidance().textEmbeds()));
            }
            Errors.check(
                    Native.pairBatchOpen(
                            session,
                            struct.segment(),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_pair_batch_open");
            return new PairBatch(engine, engine.result().get(JAVA_LONG, 0), inputs.pairs(), inputs.single());
        }
    }

    /// Number of pairs or single images in the batch.
    public int pairs() {
        return pairs;
    }

    /// Takes noised latents and targets as they are. The tensors may be closed afterwards.
    ///
    /// @param noised noised latents `[2W,C,h,w]` F32; `[W,C,h,w]` with a shared sample
    /// @param target targets of the prediction `[2W,C,h,w]` F32
    /// @throws ShapeMismatchException naming the tensor that does not fit
    public void set(DeviceTensor noised, DeviceTensor target) {
        long id = id();
        long noisedId = engine.own(noised);
        long targetId = engine.own(target);
        Errors.check(
                Native.pairBatchSet(
                        engine.enter(), id, noisedId, targetId, engine.error().segment()),
                engine.error(),
                "smpo_pair_batch_set");
    }

    /// Makes noised latents and targets by forward diffusion. The noise is numbered as in
    /// [DeviceTensor#fillNormal], with purpose 5, the batch's step and its items.
    ///
    /// @param perImage Whether each image has noise of its own; otherwise both images of a pair have the
    ///     winner's
    /// @throws ShapeMismatchException when the process does not have one row per image
    public void addNoise(ForwardProcess process, boolean perImage) {
        long id = id();
        long session = engine.enter();
        requireImages("ForwardProcess", process.rows());
        try (Arena arena = Arena.ofConfined()) {
            Struct struct = Struct.allocate(Native.FORWARD_NOISE, arena);
            struct.set("per_image", perImage ? 1 : 0);
            struct.set("sample", arena.allocateFrom(JAVA_DOUBLE, process.sampleCoefficients()));
            struct.set("noise", arena.allocateFrom(JAVA_DOUBLE, process.noiseCoefficients()));
            struct.set("target_sample", arena.allocateFrom(JAVA_DOUBLE, process.targetSampleCoefficients()));
            struct.set("target_noise", arena.allocateFrom(JAVA_DOUBLE, process.targetNoiseCoefficients()));
            Errors.check(
                    Native.pairBatchAddNoise(
                            session, id, struct.segment(), engine.error().segment()),
                    engine.error(),
                    "smpo_pair_batch_add_noise");
        }
    }

    /// Makes noised latents and targets by inversion with a UNet, without guidance. Fresh noise, if the
    /// plan adds any, has purpose 6, the batch's step, and as its item 4096 times the image's item plus
    /// the index of the inversion step in the image's list. Can be cancelled between evaluations; the
    /// batch is then as before.
    ///
    /// @param inversionBatch Number of images in one UNet evaluation, 1 to 65535
    /// @throws ShapeMismatchException when the plan does not have one row per image
    /// @throws CancelledException after [Engine#cancel()]
    public InversionReport invert(NativeModel unet, InversionPlan plan, int inversionBatch) {
        long id = id();
        long model = engine.own(unet);
        long session = engine.enter();
        requireImages("InversionPlan", plan.rows());
        try (Arena arena = Arena.ofConfined()) {
            Struct report = Struct.allocate(Native.INVERSION_REPORT, arena);
            Errors.check(
                    Native.pairBatchInvert(
                            session,
                            id,
                            model,
                            struct(arena, plan, inversionBatch).segment(),
                            report.segment(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_pair_batch_invert");
            return InversionReport.of(report);
        }
    }

    /// Makes noised latents and targets by rollouts of a UNet from noised latents, without guidance. The
    /// noise at the start has purpose 5, the batch's step and its items; that of the last step is
    /// numbered as in [#invert]. Can be cancelled between evaluations; the batch is then as before.
    ///
    /// @param encoderHiddenStates Embedding of the prompt of all rollouts `[1,S,D]`
    /// @param textEmbeds Its pooled embedding `[1,E]` for SDXL, else null
    /// @param inversionBatch Number of images in one UNet evaluation, 1 to 65535
    /// @throws ShapeMismatchException when the plan does not have one row per image
    /// @throws CancelledException after [Engine#cancel()]
    public InversionReport rollOut(
            NativeModel unet,
            RolloutPlan plan,
            DeviceTensor encoderHiddenStates,
            DeviceTensor textEmbeds,
            int inversionBatch) {
        long id = id();
        long model = engine.own(unet);
        long session = engine.enter();
        requireImages("RolloutPlan", plan.rows());
        try (Arena arena = Arena.ofConfined()) {
            Struct rollout = Struct.allocate(Native.ROLLOUT, arena);
            rollout.set("start_sample", arena.allocateFrom(JAVA_DOUBLE, plan.startSampleCoefficients()));
            rollout.set("start_noise", arena.allocateFrom(JAVA_DOUBLE, plan.startNoiseCoefficients()));
            rollout.set("target_output", arena.allocateFrom(JAVA_DOUBLE, plan.targetOutputCoefficients()));
            rollout.set("target_noise", arena.allocateFrom(JAVA_DOUBLE, plan.targetNoiseCoefficients()));
            rollout.set("encoder_hidden_states", engine.own(encoderHiddenStates));
            rollout.set("text_embeds", engine.ownOrNone(textEmbeds));
            Struct report = Struct.allocate(Native.INVERSION_REPORT, arena);
            Errors.check(
                    Native.pairBatchRollout(
                            session,
                            id,
                            model,
                            struct(arena, plan, inversionBatch).segment(),
                            rollout.segment(),
                            report.segment(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_pair_batch_rollout");
            return InversionReport.of(report);
        }
    }

    private static Struct struct(Arena arena, LatentSteps plan, int inversionBatch) {
        Struct struct = Struct.allocate(Native.INVERSION_PLAN, arena);
        struct.set("inversion_batch", inversionBatch);
        struct.set("row_start", arena.allocateFrom(JAVA_INT, plan.rowStarts()));
        struct.set(
                "timestep",
                arena.allocateFrom(
                        JAVA_DOUBLE,
                        Arrays.stream(plan.timesteps()).asDoubleStream().toArray()));
        struct.set("sample", arena.allocateFrom(JAVA_DOUBLE, plan.sampleCoefficients()));
        struct.set("output", arena.allocateFrom(JAVA_DOUBLE, plan.outputCoefficients()));
        struct.set("noise", arena.allocateFrom(JAVA_DOUBLE, plan.noiseCoefficients()));
        struct.set("averages", flags(arena, plan.averages()));
        struct.set("target_sample", arena.allocateFrom(JAVA_DOUBLE, plan.targetSampleCoefficients()));
        struct.set("target_clean", arena.allocateFrom(JAVA_DOUBLE, plan.targetCleanCoefficients()));
        return struct;
    }

    /// Computes errors, logits and losses of some pairs. With `microBatch.backward()` it also adds their
    /// gradient to the policy's.
    ///
    /// @param reference Model of the same shape; null means the policy without its adapters, or no
    ///     reference if the loss has none
    public void accumulate(NativeModel policy, NativeModel reference, PairLoss loss, MicroBatch microBatch) {
        long id = id();
        long policyId = engine.own(policy);
        long referenceId = reference == null ? 0 : engine.own(reference);
        long session = engine.enter();
        try (Arena arena = Arena.ofConfined()) {
            Errors.check(
                    Native.pairBatchAccumulate(
                            session,
                            id,
                            policyId,
                            referenceId,
                            struct(arena, loss).segment(),
                            struct(arena, microBatch).segment(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_pair_batch_accumulate");
        }
    }

    private static Struct struct(Arena arena, PairLoss loss) {
        Objective objective = loss.objective();
        double[] parameters = objective.parameters();
        Struct struct = Struct.allocate(Native.PAIR_LOSS, arena);
        struct.set("kind", objective.kind());
        struct.set("parameter_count", parameters.length);
        struct.set("safeguard", loss.safeguard().isPresent() ? 1 : 0);
        struct.set("strength", objective.strength());
        for (int i = 0; i < parameters.length; i++) {
            struct.set("parameters", i, parameters[i]);
        }
        struct.set("safeguard_mu", loss.safeguard().map(SdpoSafeguard::mu).orElse(0.0));
        struct.set("budget_weight", loss.budget().map(BcrBudget::lambda).orElse(0.0));
        struct.set("budget", loss.budget().map(BcrBudget::delta).orElse(0.0));
        return struct;
    }

    private static Struct struct(Arena arena, MicroBatch microBatch) {
        Struct struct = Struct.allocate(Native.MICRO_BATCH, arena);
        struct.set("first_pair", microBatch.firstPair());
        struct.set("pairs", microBatch.pairs());
        struct.set("backward", microBatch.backward() ? 1 : 0);
        struct.set("gradient_scale", microBatch.gradientScale());
        struct.set("label", doublesOrNone(arena, microBatch.label()));
        struct.set("logit_scale", doublesOrNone(arena, microBatch.logitScale()));
        struct.set("weight", doublesOrNone(arena, microBatch.weight()));
        if (microBatch.desirable() != null) {
            struct.set("desirable", flags(arena, microBatch.desirable()));
        }
        struct.set("error_scale", doublesOrNone(arena, microBatch.errorScale()));
        if (microBatch.meanGain().isPresent()) {
            struct.set(
                    "mean_gain",
                    arena.allocateFrom(JAVA_DOUBLE, microBatch.meanGain().getAsDouble()));
        }
        return struct;
    }

    /// Returns the results. This is the only wait for the device in a step.
    public PairResults read() {
        long id = id();
        long session = engine.enter();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment errors = arena.allocate(JAVA_DOUBLE, 4L * pairs);
            MemorySegment logits = arena.allocate(JAVA_DOUBLE, pairs);
            MemorySegment losses = arena.allocate(JAVA_DOUBLE, pairs);
            Struct results = Struct.allocate(Native.PAIR_RESULTS, arena);
            results.set("pairs", pairs);
            results.set("errors", errors);
            results.set("logits", logits);
            results.set("losses", losses);
            Errors.check(
                    Native.pairBatchRead(
                            session, id, results.segment(), engine.error().segment()),
                    engine.error(),
                    "smpo_pair_batch_read");
            double[] all = errors.toArray(JAVA_DOUBLE);
            int losers = single ? 0 : pairs;
            return new PairResults(
                    Arrays.copyOfRange(all, 0, pairs),
                    Arrays.copyOfRange(all, pairs, pairs + losers),
                    Arrays.copyOfRange(all, 2 * pairs, 3 * pairs),
                    Arrays.copyOfRange(all, 3 * pairs, 3 * pairs + losers),
                    logits.toArray(JAVA_DOUBLE),
                    losses.toArray(JAVA_DOUBLE),
                    results.getDouble("loss_sum"));
        }
    }

    /// Returns a copy of one of the batch's tensors.
    ///
    /// @return `[2W,C,h,w]` F32, where W is the number of pairs; `[W,C,h,w]` of W single images, and for
    ///     the noised latents of a shared sample; the caller closes it
    public DeviceTensor tensor(Part part) {
        long id = id();
        Errors.check(
                Native.pairBatchTensor(
                        engine.enter(),
                        id,
                        part.code(),
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_pair_batch_tensor");
        return engine.adopt(0);
    }

    /// Samples latents from a posterior: `scale * (mean + exp(logvar / 2) * n)`, where n is standard
    /// normal noise with purpose 4.
    ///
    /// @param items Items that number the noise of each row, one per row
    /// @return latents of the posterior's shape, F32; the caller closes them
    public static DeviceTensor sample(Engine engine, Posterior posterior, double scale, int step, long[] items) {
        long mean = engine.own(posterior.mean());
        long logvar = engine.own(posterior.logvar());
        long session = engine.enter();
        try (Arena arena = Arena.ofConfined()) {
            Errors.check(
                    Native.posteriorSample(
                            session,
                            mean,
                            logvar,
                            scale,
                            step,
                            arena.allocateFrom(JAVA_LONG, items),
                            items.length,
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_posterior_sample");
            return engine.adopt(0);
        }
    }

    private void requireImages(String plan, int rows) {
        int images = single ? pairs : 2 * pairs;
        if (rows != images) {
            throw new ShapeMismatchException(plan + ": expected " + images + " images, got " + rows, 0);
        }
    }

    private static MemorySegment flags(Arena arena, boolean[] values) {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (values[i] ? 1 : 0);
        }
        return arena.allocateFrom(JAVA_BYTE, bytes);
    }

    private static MemorySegment doublesOrNone(Arena arena, double[] values) {
        return values == null ? MemorySegment.NULL : arena.allocateFrom(JAVA_DOUBLE, values);
    }

    @Override
    void release(long id) {
        engine.close(Native::pairBatchClose, id, "smpo_pair_batch_close");
    }
}
