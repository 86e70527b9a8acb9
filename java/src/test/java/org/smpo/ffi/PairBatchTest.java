package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.within;

import java.nio.FloatBuffer;
import java.util.List;
import java.util.OptionalDouble;
import java.util.concurrent.atomic.AtomicReference;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.smpo.io.DType;
import org.smpo.objective.Dpo;
import org.smpo.objective.PairLoss;
import org.smpo.objective.Sft;
import org.smpo.objective.Smpo;
import org.smpo.schedule.ForwardProcess;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;

/// Pair batches through the ABI: values are read back as written, and closed, foreign and mismatched
/// arguments are refused. The native tests and `org.smpo.train.TraceTest` check the numbers.
class PairBatchTest {
    private static final int PAIRS = 2;
    private static final int ROWS = 2 * PAIRS;
    private static final int ELEMENTS = 4 * 6 * 5;
    private static final PairLoss DPO = PairLoss.of(new Dpo(3, 0.5));
    private static final NoiseSchedule SCHEDULE = NoiseSchedule.stableDiffusion();
    private static final int[] TIMESTEPS = {10, 500, 10, 500};

    private Engine engine;
    private NativeModel policy;
    private NativeModel reference;
    private DeviceTensor latents;
    private DeviceTensor prompts;

    @BeforeEach
    void open() {
        engine = Engine.open(EngineConfig.onCpu().withThreads(1));
        policy = tiny(engine, new ModelOptions(DType.F32, true, false), 0);
        reference = tiny(engine, ModelOptions.frozen(DType.F32), 1);
        latents = tensor(engine, 31, ROWS, 4, 6, 5);
        prompts = tensor(engine, 32, PAIRS, 7, 6);
    }

    @AfterEach
    void close() {
        engine.close();
    }

    @Test
    void aStepByForwardNoise() {
        try (PairBatch batch = batch()) {
            assertThat(batch.pairs()).isEqualTo(PAIRS);
            batch.addNoise(process(), true);
            assertThat(batch.read().loss()).containsOnly(Double.NaN);
            for (int pair = 0; pair < PAIRS; pair++) {
                batch.accumulate(policy, reference, DPO, microBatch(pair, 1));
            }
            PairResults results = batch.read();
            for (double[] errors : List.of(
                    results.policyWinner(),
                    results.policyLoser(),
                    results.referenceWinner(),
                    results.referenceLoser())) {
                assertThat(errors).hasSize(PAIRS);
                assertThat(errors[0]).isPositive();
                assertThat(errors[1]).isPositive();
            }
            double sum = 0;
            for (int pair = 0; pair < PAIRS; pair++) {
                double logit = -0.5
                        * 3
                        * (results.policyWinner()[pair]
                                - results.policyLoser()[pair]
                                - results.referenceWinner()[pair]
                                + results.referenceLoser()[pair]);
                assertThat(results.logit()[pair]).isEqualTo(logit, within(1e-12));
                assertThat(results.loss()[pair]).isEqualTo(Math.log1p(Math.exp(-logit)), within(1e-12));
                sum += results.loss()[pair] / PAIRS;
            }
            assertThat(results.lossSum()).isEqualTo(sum, within(1e-12));
            assertThat(policy.parameters())
                    .anySatisfy(p -> assertThat(policy.readGradient(p)).doesNotContain(0f));
            float[] x0 = latents.toFloats();
            float[] x = part(batch, PairBatch.Part.NOISED);
            float[] n = part(batch, PairBatch.Part.TARGET);
            for (int i = 0; i < x.length; i++) {
                double alpha = SCHEDULE.alphaCumprod(TIMESTEPS[i / ELEMENTS]);
                assertThat(x[i])
                        .isEqualTo((float) (Math.sqrt(alpha) * x0[i] + Math.sqrt(1 - alpha) * n[i]), within(1e-6f));
            }
            assertThat(part(batch, PairBatch.Part.PREDICTION)).isNotEqualTo(n).doesNotContain(0f);
            assertThat(part(batch, PairBatch.Part.REFERENCE_PREDICTION))
                    .isNotEqualTo(part(batch, PairBatch.Part.PREDICTION))
                    .doesNotContain(0f);
        }
    }

    @Test
    void bothImagesOfAPairMayShareTheNoise() {
        try (PairBatch shared = batch();
                PairBatch own = batch()) {
            shared.addNoise(process(), false);
            own.addNoise(process(), true);
            float[] one = part(shared, PairBatch.Part.TARGET);
            float[] other = part(own, PairBatch.Part.TARGET);
            for (int i = 0; i < PAIRS * ELEMENTS; i++) {
                assertThat(one[PAIRS * ELEMENTS + i]).isEqualTo(one[i]);
                assertThat(other[i]).isEqualTo(one[i]);
                assertThat(other[PAIRS * ELEMENTS + i]).isNotEqualTo(one[i]);
            }
        }
    }

    @Test
    void aStepByInversion() {
        try (PairBatch batch = batch()) {
            InversionReport report = batch.invert(policy, plan(), 3);
            assertThat(report.evaluations()).isEqualTo(plan().evaluations()).isEqualTo(2 * 3 + 2 + 2 * 2);
            assertThat(report.batches()).isBetween(6, 12);
            assertThat(report.seconds()).isGreaterThanOrEqualTo(report.unetSeconds());
            float[] x0 = latents.toFloats();
            float[] x = part(batch, PairBatch.Part.NOISED);
            float[] target = part(batch, PairBatch.Part.TARGET);
            for (int i = 0; i < ELEMENTS; i++) {
                assertThat(x[i]).isEqualTo(x0[i]);
                assertThat(target[i]).isEqualTo((float)
                        (plan().targetSampleCoefficient(0) * x0[i] + plan().targetCleanCoefficient(0) * x0[i]));
            }
            assertThat(x[ELEMENTS]).isNotEqualTo(x0[ELEMENTS]);
            batch.accumulate(policy, reference, DPO, microBatch(0, PAIRS));
            assertThat(batch.read().lossSum()).isPositive();
        }
    }

    @Test
    void aCancelledInversionLeavesThePairBatch() {
        try (PairBatch batch = batch()) {
            batch.addNoise(process(), true);
            float[] before = part(batch, PairBatch.Part.NOISED);
            engine.cancel();
            assertThatExceptionOfType(CancelledException.class).isThrownBy(() -> batch.invert(policy, plan(), 2));
            assertThat(part(batch, PairBatch.Part.NOISED)).isEqualTo(before);
            batch.invert(policy, plan(), 2);
            assertThat(part(batch, PairBatch.Part.NOISED)).isNotEqualTo(before);
        }
    }

    @Test
    void aPosteriorIsSampledByItem() {
        long[] items = {5, 6, 7, 8};
        try (DeviceTensor logvar = tensor(engine, 33, ROWS, 4, 6, 5);
                DeviceTensor sample = PairBatch.sample(engine, new Posterior(latents, logvar), 0.5, 3, items);
                DeviceTensor normal = engine.zeros(DType.F32, ROWS, 4, 6, 5)) {
            normal.fillNormal(4, 3, items);
            float[] mean = latents.toFloats();
            float[] spread = logvar.toFloats();
            float[] n = normal.toFloats();
            float[] values = sample.toFloats();
            for (int i = 0; i < values.length; i++) {
                double wanted = 0.5 * (mean[i] + Math.exp(spread[i] / 2) * n[i]);
                assertThat((double) values[i]).isEqualTo(wanted, within(1e-6 * (1 + Math.abs(wanted))));
            }
            assertThatExceptionOfType(ShapeMismatchException.class)
                    .isThrownBy(() ->
                            PairBatch.sample(engine, new Posterior(latents, logvar), 0.5, 3, new long[] {1, 2, 3}));
        }
    }

    // ---- refused arguments ----

    @Test
    void wrongLengthsAreRefusedInJava() {
        assertInvalid("two entries for each pair", () -> inputs(latents, new int[3], new long[3]));
        assertInvalid("two entries for each pair", () -> inputs(latents, new int[4], new long[2]));
        assertInvalid("two entries for each pair", () -> inputs(latents, new int[0], new long[0]));
        double[] one = {1};
        assertInvalid(
                "label: expected 2 numbers, got 1",
                () -> new MicroBatch(0, 2, true, 1, one, null, null, OptionalDouble.empty()));
        assertInvalid(
                "logitScale: expected 2", () -> new MicroBatch(0, 2, true, 1, null, one, null, OptionalDouble.empty()));
        assertInvalid(
                "weight: expected 2", () -> new MicroBatch(0, 2, true, 1, null, null, one, OptionalDouble.empty()));
        try (PairBatch batch = batch()) {
            for (int images : new int[] {ROWS - 2, ROWS + 1}) {
                assertThatExceptionOfType(ShapeMismatchException.class)
                        .isThrownBy(() -> batch.addNoise(ForwardProcess.of(SCHEDULE, new int[images]), true))
                        .withMessage("ForwardProcess: expected 4 images, got " + images);
                assertThatExceptionOfType(ShapeMismatchException.class)
                        .isThrownBy(() -> batch.invert(
                                policy,
                                InversionPlan.of(SCHEDULE, Inversion.of(Inversion.Semantics.V022, 5), new int[images]),
                                1))
                        .withMessage("InversionPlan: expected 4 images, got " + images);
            }
        }
    }

    @Test
    void refusalsOfTheLibraryAreReported() {
        assertThatExceptionOfType(ShapeMismatchException.class)
                .isThrownBy(() -> PairBatch.open(engine, inputs(prompts, new int[ROWS], new long[ROWS])))
                .withMessageContaining("inputs.latents");
        try (PairBatch batch = batch()) {
            assertInvalid(
                    "one that was noised, inverted or set",
                    () -> batch.accumulate(policy, reference, DPO, microBatch(0, PAIRS)));
            assertInvalid("not noised, inverted or set", () -> batch.tensor(PairBatch.Part.NOISED));
            batch.addNoise(process(), true);
            assertInvalid("micro_batch.pairs", () -> batch.accumulate(policy, reference, DPO, microBatch(1, PAIRS)));
            assertInvalid("reference", () -> batch.accumulate(policy, null, DPO, microBatch(0, 1)));
            assertInvalid("policy", () -> batch.accumulate(reference, policy, DPO, microBatch(0, 1)));
            assertInvalid(
                    "micro_batch.label",
                    () -> batch.accumulate(policy, reference, PairLoss.of(new Smpo(3, 10, 0.5)), microBatch(0, 1)));
            batch.accumulate(policy, null, PairLoss.of(new Sft()), microBatch(0, 1));
            assertThat(batch.read().referenceWinner()[0]).isZero();
        }
    }

    @Test
    void closedHandlesAreRefused() {
        PairBatch batch = batch();
        batch.addNoise(process(), true);
        NativeModel closed = tiny(engine, ModelOptions.frozen(DType.F32), 2);
        closed.close();
        assertInvalidHandle(() -> batch.accumulate(closed, reference, DPO, microBatch(0, 1)));
        assertInvalidHandle(() -> batch.accumulate(policy, closed, DPO, microBatch(0, 1)));
        assertInvalidHandle(() -> batch.invert(closed, plan(), 1));
        assertThat(batch.read().loss()).containsOnly(Double.NaN);
        batch.close();
        batch.close();
        for (ThrowingCallable use : uses(batch, policy)) {
            assertInvalidHandle(use);
        }
        latents.close();
        assertInvalidHandle(this::batch);
    }

    @Test
    void foreignHandlesAreRefused() {
        try (PairBatch batch = batch();
                Engine other = Engine.open(EngineConfig.onCpu().withThreads(1))) {
            batch.addNoise(process(), true);
            NativeModel foreign = tiny(other, new ModelOptions(DType.F32, true, false), 0);
            assertInvalidHandle(() -> batch.accumulate(foreign, reference, DPO, microBatch(0, 1)));
            assertInvalidHandle(() -> batch.accumulate(policy, foreign, DPO, microBatch(0, 1)));
            assertInvalidHandle(() -> batch.invert(foreign, plan(), 1));
            assertInvalidHandle(() -> PairBatch.open(other, inputs(latents, new int[ROWS], new long[ROWS])));
            assertInvalidHandle(() -> PairBatch.sample(other, new Posterior(latents, latents), 1, 0, new long[ROWS]));
        }
    }

    @Test
    void anotherThreadIsRefused() throws InterruptedException {
        try (PairBatch batch = batch()) {
            batch.addNoise(process(), true);
            for (ThrowingCallable use : uses(batch, policy)) {
                AtomicReference<Throwable> thrown = new AtomicReference<>();
                Thread.ofPlatform().start(() -> thrown.set(catchThrowable(use))).join();
                assertThat(thrown.get()).isInstanceOf(NotOwnerThreadException.class);
            }
            assertThat(batch.read().loss()).containsOnly(Double.NaN);
        }
    }

    private static List<ThrowingCallable> uses(PairBatch batch, NativeModel policy) {
        return List.of(
                () -> batch.addNoise(process(), true),
                () -> batch.invert(policy, plan(), 1),
                () -> batch.accumulate(policy, policy, DPO, microBatch(0, 1)),
                batch::read,
                () -> batch.tensor(PairBatch.Part.NOISED).close());
    }

    private static void assertInvalid(String message, ThrowingCallable call) {
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(call)
                .withMessageContaining(message);
    }

    private static void assertInvalidHandle(ThrowingCallable call) {
        assertThatExceptionOfType(InvalidHandleException.class).isThrownBy(call);
    }

    // ---- a small batch ----

    private PairBatch batch() {
        return PairBatch.open(engine, inputs(latents, TIMESTEPS, new long[] {1, 2, 3, 4}));
    }

    private PairBatchInputs inputs(DeviceTensor images, int[] timesteps, long[] items) {
        return new PairBatchInputs(7, true, images, prompts, null, null, timesteps, items, false);
    }

    /// The target is the noise itself.
    private static ForwardProcess process() {
        return ForwardProcess.of(SCHEDULE, TIMESTEPS);
    }

    /// A plan without a step for the first image; three, one and two steps of two predictions each for
    /// the others.
    private static InversionPlan plan() {
        return InversionPlan.of(SCHEDULE, Inversion.of(Inversion.Semantics.V022, 5), new int[] {0, 500, 10, 300});
    }

    private static MicroBatch microBatch(int first, int pairs) {
        return new MicroBatch(first, pairs, true, 1.0 / PAIRS, null, null, null, OptionalDouble.empty());
    }

    private static float[] part(PairBatch batch, PairBatch.Part part) {
        try (DeviceTensor tensor = batch.tensor(part)) {
            assertThat(tensor.shape()).containsExactly(ROWS, 4, 6, 5);
            return tensor.toFloats();
        }
    }

    private static NativeModel tiny(Engine engine, ModelOptions options, int seed) {
        UNetSpec spec = new UNetSpec(
                4,
                4,
                List.of(8, 8),
                List.of(true, false),
                List.of(false, true),
                List.of(1, 1),
                List.of(1, 1),
                List.of(2, 2),
                6,
                false,
                4,
                true,
                0,
                0,
                1e-5,
                0);
        NativeModel model = NativeModel.openUNet(engine, spec, options);
        int salt = 1000 * seed;
        for (ParameterInfo parameter : model.parameters()) {
            boolean gain = parameter.shape().size() == 1 && parameter.name().endsWith(".weight");
            float[] values = some((int) parameter.elements(), ++salt);
            for (int i = 0; i < values.length; i++) {
                values[i] = gain ? 1 + 0.1f * values[i] : 0.2f * values[i];
            }
            model.write(parameter.name(), DType.F32, parameter.shape(), FloatBuffer.wrap(values));
        }
        return model;
    }

    private static float[] some(int count, int salt) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) Math.sin(0.7 * i + 1.3 * salt);
        }
        return values;
    }

    private static DeviceTensor tensor(Engine engine, int salt, long... shape) {
        long elements = 1;
        for (long size : shape) {
            elements *= size;
        }
        return engine.fromHost(some((int) elements, salt), shape);
    }
}
