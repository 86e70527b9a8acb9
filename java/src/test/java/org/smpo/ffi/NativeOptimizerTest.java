package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.smpo.io.DType;

/// Optimizers through the ABI: they update, their state is saved and restored, invalid arguments are
/// refused. The native tests check the numbers.
class NativeOptimizerTest {
    private static final ModelOptions TRAINABLE = new ModelOptions(DType.F32, true, false);
    private static final double NEVER = Double.POSITIVE_INFINITY;

    private Engine engine;

    @BeforeEach
    void open() {
        engine = Engine.open(EngineConfig.onCpu());
    }

    @AfterEach
    void close() {
        engine.close();
    }

    static List<OptimizerOptions> rules() {
        return List.of(
                new OptimizerOptions(OptimizerOptions.AdamW.standard(), 0.9),
                new OptimizerOptions(OptimizerOptions.Adafactor.withLearningRate(), 0.9),
                new OptimizerOptions(
                        new OptimizerOptions.Adafactor(0.9, 1e-30, 1e-3, 0.5, -0.8, 0.1, true, false, false), 0.9));
    }

    @ParameterizedTest
    @MethodSource("rules")
    void aStepMovesWeightsAndStateAndClearsGradients(OptimizerOptions options) {
        try (NativeModel model = tiny(TRAINABLE);
                NativeOptimizer optimizer = NativeOptimizer.open(model, options)) {
            Map<String, float[]> before = weights(model);
            differentiate(model, 1);
            StepOutcome outcome = optimizer.step(1e-3, 0.5);
            assertThat(outcome.finite()).isTrue();
            assertThat(outcome.applied()).isTrue();
            assertThat(outcome.steps()).isEqualTo(1);
            assertThat(outcome.gradNorm()).isGreaterThan(0.5);
            assertThat(outcome.clipCoefficient()).isEqualTo(0.5 / (outcome.gradNorm() + 1e-6), within(1e-7));
            assertThat(outcome.learningRate()).isEqualTo(1e-3);
            assertThat(optimizer.steps()).isEqualTo(1);
            assertThat(optimizer.bytes()).isPositive();
            assertThat(model.parameters()).allSatisfy(parameter -> {
                assertThat(model.readGradient(parameter)).containsOnly(0f);
                assertThat(model.read(parameter)).isNotEqualTo(before.get(parameter.name()));
            });
            assertThat(state(optimizer))
                    .containsKey("ema.conv_in.weight")
                    .hasSize(optimizer.states().size());
        }
    }

    @ParameterizedTest
    @MethodSource("rules")
    void itsStateContinuesTheRunBitForBit(OptimizerOptions options) {
        Map<String, float[]> wanted;
        Map<String, float[]> wantedState;
        try (NativeModel model = tiny(TRAINABLE);
                NativeOptimizer optimizer = NativeOptimizer.open(model, options)) {
            run(model, optimizer, 1, 4);
            wanted = weights(model);
            wantedState = state(optimizer);
        }
        try (NativeModel model = tiny(TRAINABLE);
                NativeModel resumed = tiny(TRAINABLE)) {
            try (NativeOptimizer first = NativeOptimizer.open(model, options);
                    NativeOptimizer second = NativeOptimizer.open(resumed, options)) {
                run(model, first, 1, 2);
                for (ParameterInfo parameter : model.parameters()) {
                    resumed.write(
                            parameter.name(), DType.F32, parameter.shape(), FloatBuffer.wrap(model.read(parameter)));
                }
                for (StateInfo state : first.states()) {
                    second.write(state, MemorySegment.ofArray(first.read(state)));
                }
                second.setSteps(first.steps());
                run(resumed, second, 3, 4);
                assertThat(second.steps()).isEqualTo(4);
                assertThat(weights(resumed)).usingRecursiveComparison().isEqualTo(wanted);
                assertThat(state(second)).usingRecursiveComparison().isEqualTo(wantedState);
            }
        }
    }

    @Test
    void aGradientThatIsNotFiniteChangesNothing() {
        try (NativeModel model = tiny(TRAINABLE);
                NativeOptimizer optimizer = NativeOptimizer.open(model, rules().getFirst());
                DeviceTensor sample = tensor(100, 1, 4, 6, 5);
                DeviceTensor timesteps = tensor(101, 1);
                DeviceTensor text = tensor(102, 1, 7, 6);
                DeviceTensor cotangent = engine.fromHost(nans(120), 1, 4, 6, 5)) {
            Map<String, float[]> before = weights(model);
            model.backward(UNetInputs.of(sample, timesteps, text), cotangent, false)
                    .output()
                    .close();
            StepOutcome outcome = optimizer.step(1e-3, NEVER);
            assertThat(outcome.finite()).isFalse();
            assertThat(outcome.applied()).isFalse();
            assertThat(outcome.steps()).isZero();
            assertThat(optimizer.findNonFinite()).isPresent();
            assertThat(weights(model)).usingRecursiveComparison().isEqualTo(before);
            model.zeroGradients();
            assertThat(optimizer.findNonFinite()).isEmpty();
        }
    }

    @Test
    void anAverageIsCopiedToAnotherModel() {
        try (NativeModel model = tiny(TRAINABLE);
                NativeModel average = tiny(ModelOptions.frozen(DType.F32));
                NativeOptimizer optimizer = NativeOptimizer.open(model, rules().getFirst())) {
            run(model, optimizer, 1, 2);
            optimizer.copyEma(average);
            Map<String, float[]> state = state(optimizer);
            weights(average).forEach((name, values) -> assertThat(values).isEqualTo(state.get("ema." + name)));
            assertThatExceptionOfType(InvalidArgumentException.class).isThrownBy(() -> optimizer.copyEma(model));
        }
    }

    @Test
    void adaptersTrain() {
        try (NativeModel model = tiny(ModelOptions.frozen(DType.F32))) {
            OptimizerOptions options = rules().getFirst();
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(() -> NativeOptimizer.open(model, options))
                    .withMessageContaining("nothing trains");
            model.addLora(new LoraSpec(2, 2, List.of("conv_in", "conv_out")));
            fill(model);
            float[] base = weights(model).get("conv_in.weight");
            try (NativeOptimizer optimizer = NativeOptimizer.open(model, options)) {
                assertThat(optimizer.states())
                        .extracting(StateInfo::name)
                        .contains("exp_avg.conv_in.lora_A.weight")
                        .doesNotContain("exp_avg.conv_in.weight");
                float[] before = weights(model).get("conv_in.lora_B.weight");
                run(model, optimizer, 1, 1);
                assertThat(weights(model).get("conv_in.lora_B.weight")).isNotEqualTo(before);
                assertThat(weights(model).get("conv_in.weight")).isEqualTo(base);
                assertThatExceptionOfType(InvalidArgumentException.class)
                        .isThrownBy(() -> model.mergeLora(1))
                        .withMessageContaining("optimizer");
            }
            model.mergeLora(1);
        }
    }

    @Test
    void adafactorMakesItsOwnLearningRate() {
        OptimizerOptions options = new OptimizerOptions(OptimizerOptions.Adafactor.standard(), 0);
        try (NativeModel model = tiny(TRAINABLE);
                NativeOptimizer optimizer = NativeOptimizer.open(model, options)) {
            differentiate(model, 1);
            assertThat(optimizer.step(0, NEVER).learningRate()).isEqualTo(1e-2);
            assertThat(optimizer.states())
                    .extracting(StateInfo::name)
                    .contains("exp_avg_sq_row.conv_in.weight", "exp_avg_sq_col.conv_in.weight")
                    .contains("exp_avg_sq.conv_in.bias")
                    .noneMatch(name -> name.startsWith("exp_avg.") || name.startsWith("ema."));
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(() -> optimizer.step(1e-3, NEVER))
                    .withMessageContaining("relative_step");
        }
    }

    @Test
    void badArgumentsAreRefused() {
        NativeModel model = tiny(TRAINABLE);
        NativeOptimizer optimizer = NativeOptimizer.open(model, rules().getFirst());
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> optimizer.step(Double.NaN, 1))
                .withMessageContaining("learning_rate");
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> optimizer.step(1, 0))
                .withMessageContaining("max_grad_norm");
        StateInfo state = optimizer.states().getFirst();
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> optimizer.read(new StateInfo("exp_avg.no", state.shape())))
                .withMessageContaining("exp_avg.no");
        assertThatExceptionOfType(ShapeMismatchException.class)
                .isThrownBy(() -> optimizer.read(new StateInfo(state.name(), List.of(1L))));
        assertThatExceptionOfType(NonFiniteException.class)
                .isThrownBy(() -> optimizer.write(state, MemorySegment.ofArray(nans((int) state.elements()))));
        assertThatExceptionOfType(InvalidArgumentException.class).isThrownBy(() -> optimizer.setSteps(-1));
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> NativeOptimizer.open(model, rules().getFirst()))
                .withMessageContaining("without an optimizer");
        OptimizerOptions.AdamW wild = new OptimizerOptions.AdamW(1, 0.9, 1e-8, 0);
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> NativeOptimizer.open(model, new OptimizerOptions(wild, 0)))
                .withMessageContaining("beta1");
        model.close();
        assertThat(optimizer.step(1e-3, NEVER).applied()).isTrue(); // keeps its model
        optimizer.close();
        assertThatExceptionOfType(InvalidHandleException.class).isThrownBy(optimizer::steps);
    }

    // ---- a small network and its gradients ----

    private NativeModel tiny(ModelOptions options) {
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
        fill(model);
        return model;
    }

    /// Writes every parameter.
    private static void fill(NativeModel model) {
        int salt = 0;
        for (ParameterInfo parameter : model.parameters()) {
            boolean gain = parameter.shape().size() == 1 && parameter.name().endsWith(".weight");
            float[] values = some((int) parameter.elements(), ++salt);
            for (int i = 0; i < values.length; i++) {
                values[i] = gain ? 1 + 0.1f * values[i] : 0.2f * values[i];
            }
            model.write(parameter.name(), DType.F32, parameter.shape(), FloatBuffer.wrap(values));
        }
    }

    private void run(NativeModel model, NativeOptimizer optimizer, int from, int to) {
        for (int step = from; step <= to; step++) {
            differentiate(model, step);
            assertThat(optimizer.step(1e-3, 1).applied()).isTrue();
        }
    }

    private void differentiate(NativeModel model, int salt) {
        try (DeviceTensor sample = tensor(100 + salt, 1, 4, 6, 5);
                DeviceTensor timesteps = tensor(200 + salt, 1);
                DeviceTensor text = tensor(300 + salt, 1, 7, 6);
                DeviceTensor cotangent = tensor(400 + salt, 1, 4, 6, 5)) {
            model.backward(UNetInputs.of(sample, timesteps, text), cotangent, false)
                    .output()
                    .close();
        }
    }

    private static Map<String, float[]> weights(NativeModel model) {
        Map<String, float[]> weights = new LinkedHashMap<>();
        for (ParameterInfo parameter : model.parameters()) {
            weights.put(parameter.name(), model.read(parameter));
        }
        return weights;
    }

    private static Map<String, float[]> state(NativeOptimizer optimizer) {
        Map<String, float[]> values = new LinkedHashMap<>();
        for (StateInfo state : optimizer.states()) {
            values.put(state.name(), optimizer.read(state));
        }
        return values;
    }

    private static float[] some(int count, int salt) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) Math.sin(0.7 * i + 1.3 * salt);
        }
        return values;
    }

    private static float[] nans(int count) {
        float[] values = new float[count];
        Arrays.fill(values, Float.NaN);
        return values;
    }

    private DeviceTensor tensor(int salt, long... shape) {
        long elements = 1;
        for (long size : shape) {
            elements *= size;
        }
        return engine.fromHost(some((int) elements, salt), shape);
    }
}
