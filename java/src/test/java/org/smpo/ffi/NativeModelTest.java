package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.DType;
import org.smpo.schedule.Ddim;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSpacing;

/// Models and samplers through the ABI: parameters are read back as written, invalid arguments are
/// refused, handles close when they should. The native tests check the numbers.
class NativeModelTest {
    private static final ModelOptions FROZEN = ModelOptions.frozen(DType.F32);

    private Engine engine;

    @BeforeEach
    void open() {
        engine = Engine.open(EngineConfig.onCpu());
    }

    @AfterEach
    void close() {
        engine.close();
    }

    @Test
    void parametersComeBack() {
        try (NativeModel model = NativeModel.openUNet(engine, tiny(), FROZEN)) {
            assertThat(model.kind()).isEqualTo(ModelKind.UNET);
            assertThat(model.info().writtenCount()).isZero();
            List<ParameterInfo> parameters = model.parameters();
            assertThat(parameters).hasSize(model.info().parameterCount()).noneMatch(ParameterInfo::written);
            assertThat(parameters)
                    .filteredOn(parameter -> parameter.name().equals("conv_in.weight"))
                    .singleElement()
                    .satisfies(parameter -> {
                        assertThat(parameter.shape()).containsExactly(8L, 4L, 3L, 3L);
                        assertThat(parameter.dtype()).isEqualTo(DType.F32);
                    });
            fill(model);
            assertThat(model.info().writtenCount()).isEqualTo(parameters.size());
            assertThat(model.parameters()).allMatch(ParameterInfo::written);
            int salt = 0;
            for (ParameterInfo parameter : parameters) {
                assertThat(model.read(parameter)).as(parameter.name()).isEqualTo(values(parameter, ++salt));
            }
        }
    }

    /// Writes from the heap, from native memory, from a part of a buffer, and in a narrower dtype.
    @Test
    void everySourceOfBytesWillDo() {
        try (NativeModel model = NativeModel.openUNet(engine, tiny(), FROZEN);
                Arena arena = Arena.ofConfined()) {
            List<Long> shape = List.of(8L);
            float[] expected = {1, 2, 3, 4, 5, 6, 7, 8};
            MemorySegment heap = MemorySegment.ofArray(expected);
            ParameterInfo bias = named(model, "conv_in.bias");
            model.write("conv_in.bias", DType.F32, shape, heap);
            assertThat(model.read(bias)).isEqualTo(expected);
            expected[0] = 9;
            model.write("conv_in.bias", DType.F32, shape, arena.allocate(32).copyFrom(heap));
            assertThat(model.read(bias)).isEqualTo(expected);
            float[] longer = {0, 0, 9, 2, 3, 4, 5, 6, 7, 10, 0};
            FloatBuffer part = FloatBuffer.wrap(longer, 2, 8);
            model.write("conv_in.bias", DType.F32, shape, part);
            expected[7] = 10;
            assertThat(model.read(bias)).isEqualTo(expected);
            assertThat(part.remaining()).isEqualTo(8);
            short[] narrow = new short[8];
            model.read("conv_in.bias", DType.BF16, shape, MemorySegment.ofArray(narrow));
            for (int i = 0; i < 8; i++) {
                assertThat(Float.intBitsToFloat(narrow[i] << 16)).isEqualTo(expected[i]);
            }
        }
    }

    /// A view of a mapped file does not tell that it is one. The library must not read it in place,
    /// because another process could cut the file.
    @Test
    void viewsOfDirectMemoryAreCopied(@TempDir Path folder) throws IOException {
        Path file = Files.write(folder.resolve("values"), new byte[64]);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer mapped =
                    channel.map(FileChannel.MapMode.READ_ONLY, 0, 64).order(ByteOrder.LITTLE_ENDIAN);
            assertThat(Engine.readableInPlace(Engine.segmentOf(mapped))).isFalse();
            assertThat(Engine.readableInPlace(Engine.segmentOf(mapped.asFloatBuffer())))
                    .isFalse();
            assertThat(Engine.segmentOf(mapped.asFloatBuffer()).byteSize()).isEqualTo(64);
        }
        assertThat(Engine.readableInPlace(Engine.segmentOf(ByteBuffer.allocateDirect(8))))
                .isTrue();
    }

    @Test
    void badArgumentsAreRefusedAndChangeNothing() {
        try (NativeModel model = NativeModel.openUNet(engine, tiny(), FROZEN)) {
            fill(model);
            ParameterInfo bias = named(model, "conv_in.bias");
            float[] before = model.read(bias);
            MemorySegment eight = MemorySegment.ofArray(new float[8]);
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(() -> model.write("conv_in.bia", DType.F32, List.of(8L), eight))
                    .withMessageContaining("conv_in.bia");
            assertThatExceptionOfType(ShapeMismatchException.class)
                    .isThrownBy(() -> model.write("conv_in.bias", DType.F32, List.of(2L, 4L), eight))
                    .withMessageContaining("conv_in.bias");
            assertThatExceptionOfType(ShapeMismatchException.class)
                    .isThrownBy(() -> model.write("conv_in.bias", DType.F32, List.of(8L), eight.asSlice(4)));
            float[] bad = {0, 0, 0, Float.NaN, 0, 0, 0, 0};
            assertThatExceptionOfType(NonFiniteException.class)
                    .isThrownBy(() -> model.write("conv_in.bias", DType.F32, List.of(8L), FloatBuffer.wrap(bad)))
                    .withMessageContaining("3");
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(() -> model.write("x".repeat(2000), DType.F32, List.of(8L), eight))
                    .withMessageContaining("1023");
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(() -> model.read("conv_in.bias", DType.F32, List.of(8L), eight.asReadOnly()))
                    .withMessageContaining("read-only");
            assertThatExceptionOfType(InvalidArgumentException.class).isThrownBy(() -> model.readGradient(bias));
            assertThatExceptionOfType(InvalidArgumentException.class)
                    .isThrownBy(() -> model.addLora(new LoraSpec(2, 2, List.of("nowhere"))))
                    .withMessageContaining("nowhere");
            assertThat(model.read(bias)).isEqualTo(before);
        }
    }

    @Test
    void anInvalidSpecIsRefused() {
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> new UNetSpec(
                        4,
                        4,
                        List.of(8, 8),
                        List.of(true),
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
                        0))
                .withMessageContaining("downAttention");
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> NativeModel.openUNet(engine, spec(4, 3), FROZEN));
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> NativeModel.openUNet(engine, tiny(), ModelOptions.frozen(DType.I32)))
                .withMessageContaining("precision");
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() ->
                        NativeModel.openVae(engine, new VaeSpec(3, 3, 4, List.of(8), 1, 3, true, true, true), FROZEN));
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> NativeModel.openClipText(engine, text(0), FROZEN));
        assertThatExceptionOfType(InvalidArgumentException.class)
                .isThrownBy(() -> NativeModel.openClipVision(
                        engine, new ClipVisionSpec(8, 4, 3, 8, 16, 0, 1, ClipActivation.GELU, 0, 1e-5), FROZEN));
    }

    @Test
    void modelsWithoutABackwardPassRefuseCheckpointing() {
        ModelOptions checkpointing = new ModelOptions(DType.F32, false, true);
        NativeModel.openUNet(engine, tiny(), checkpointing).close();
        VaeSpec vae = new VaeSpec(3, 3, 4, List.of(8), 1, 4, true, true, true);
        ClipVisionSpec vision = new ClipVisionSpec(8, 4, 3, 8, 16, 2, 1, ClipActivation.GELU, 0, 1e-5);
        List<Runnable> openings = List.of(
                () -> NativeModel.openVae(engine, vae, checkpointing),
                () -> NativeModel.openClipText(engine, text(2), checkpointing),
                () -> NativeModel.openClipVision(engine, vision, checkpointing));
        assertThat(openings)
                .allSatisfy(opening -> assertThatExceptionOfType(NotSupportedException.class)
                        .isThrownBy(opening::run)
                        .withMessageContaining("options.checkpointing: expected 0"));
    }

    @Test
    void aModelComputesAndHasGradients() {
        try (NativeModel model = NativeModel.openUNet(engine, tiny(), new ModelOptions(DType.F32, true, false));
                DeviceTensor sample = tensor(100, 2, 4, 6, 5);
                DeviceTensor timesteps = tensor(101, 2);
                DeviceTensor text = tensor(102, 2, 7, 6)) {
            UNetInputs inputs = UNetInputs.of(sample, timesteps, text);
            assertThatExceptionOfType(EngineException.class)
                    .isThrownBy(() -> model.forward(inputs).close())
                    .withMessageContaining("written");
            fill(model);
            ParameterInfo weight = named(model, "conv_out.weight");
            try (DeviceTensor output = model.forward(inputs);
                    DeviceTensor cotangent = tensor(103, 2, 4, 6, 5);
                    UNetGradients gradients = model.backward(inputs, cotangent, true)) {
                assertThat(output.shape()).containsExactly(2, 4, 6, 5);
                assertThat(gradients.output().toFloats()).isEqualTo(output.toFloats());
                assertThat(gradients.sampleGradient().shape()).containsExactly(2, 4, 6, 5);
                float[] once = model.readGradient(weight);
                assertThat(once).isNotEqualTo(new float[once.length]);
                try (UNetGradients again = model.backward(inputs, cotangent, false)) {
                    assertThat(again.sampleGradient()).isNull();
                }
                float[] twice = model.readGradient(weight);
                for (int i = 0; i < once.length; i++) {
                    assertThat(twice[i]).isEqualTo(2 * once[i]);
                }
                model.zeroGradients();
                assertThat(model.readGradient(weight)).isEqualTo(new float[once.length]);
            }
            assertThatExceptionOfType(ShapeMismatchException.class)
                    .isThrownBy(() -> model.forward(UNetInputs.of(sample, timesteps, sample)));
            assertThatExceptionOfType(EngineException.class)
                    .isThrownBy(() -> model.decode(sample, 0))
                    .withMessageContaining("smpo_vae_decode");
        }
    }

    @Test
    void adaptersAddTurnOffAndMerge() {
        try (NativeModel model = NativeModel.openUNet(engine, tiny(), FROZEN);
                DeviceTensor sample = tensor(100, 1, 4, 6, 5);
                DeviceTensor timesteps = tensor(101, 1);
                DeviceTensor text = tensor(102, 1, 7, 6)) {
            fill(model);
            UNetInputs inputs = UNetInputs.of(sample, timesteps, text);
            String module = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
            float[] plain = run(model, inputs);
            model.addLora(new LoraSpec(2, 4, List.of(module)));
            fill(model);
            assertThat(run(model, inputs)).isNotEqualTo(plain);
            model.setLoraScale(0);
            assertThat(run(model, inputs)).isEqualTo(plain);
            int withAdapters = model.info().parameterCount();
            model.mergeLora(1);
            assertThat(model.info().parameterCount()).isEqualTo(withAdapters - 2);
            assertThat(run(model, inputs)).isNotEqualTo(plain);
        }
    }

    @Test
    void aSamplerTakesItsSteps() {
        SamplerPlan plan = plan(3);
        try (NativeModel model = NativeModel.openUNet(engine, tiny(), FROZEN);
                DeviceTensor noise = tensor(100, 2, 4, 6, 5);
                DeviceTensor text = tensor(102, 2, 7, 6)) {
            fill(model);
            SamplerInputs inputs = new SamplerInputs(
                    noise,
                    new SamplerInputs.Condition(text, null, null),
                    null,
                    1,
                    0,
                    List.of(1L, 2L),
                    new SamplerInputs.NegativeNetwork.Same());
            float[] whole;
            try (NativeSampler sampler = NativeSampler.open(model, plan, inputs)) {
                assertThat(sampler.steps()).isEqualTo(3);
                assertThat(latents(sampler)).isEqualTo(noise.toFloats());
                sampler.step(3);
                whole = latents(sampler);
                assertThat(whole).isNotEqualTo(noise.toFloats());
                assertThatExceptionOfType(InvalidArgumentException.class).isThrownBy(() -> sampler.step(1));
            }
            try (NativeSampler sampler = NativeSampler.open(model, plan, inputs)) {
                sampler.step(1);
                sampler.step(2);
                assertThat(latents(sampler)).isEqualTo(whole);
            }
            assertThatExceptionOfType(ShapeMismatchException.class)
                    .isThrownBy(() -> NativeSampler.open(
                            model,
                            plan,
                            new SamplerInputs(
                                    noise,
                                    inputs.condition(),
                                    null,
                                    1,
                                    0,
                                    List.of(1L),
                                    new SamplerInputs.NegativeNetwork.Same())))
                    .withMessageContaining("items");
            assertThatExceptionOfType(EngineException.class)
                    .isThrownBy(() -> NativeSampler.open(
                            model,
                            plan,
                            new SamplerInputs(
                                    noise,
                                    inputs.condition(),
                                    null,
                                    7.5,
                                    0,
                                    null,
                                    new SamplerInputs.NegativeNetwork.Same())));
        }
    }

    @Test
    void staleAndForeignHandlesAreRefused() {
        NativeModel model = NativeModel.openUNet(engine, tiny(), FROZEN);
        fill(model);
        try (DeviceTensor noise = tensor(100, 1, 4, 6, 5);
                DeviceTensor text = tensor(102, 1, 7, 6);
                Engine other = Engine.open(EngineConfig.onCpu());
                DeviceTensor foreign = other.zeros(DType.F32, 1)) {
            SamplerInputs inputs = new SamplerInputs(
                    noise,
                    new SamplerInputs.Condition(text, null, null),
                    null,
                    1,
                    0,
                    null,
                    new SamplerInputs.NegativeNetwork.Same());
            NativeSampler sampler = NativeSampler.open(model, plan(1), inputs);
            assertThatExceptionOfType(InvalidHandleException.class)
                    .isThrownBy(() -> model.forward(UNetInputs.of(noise, foreign, text)))
                    .withMessageContaining("another engine");
            long id = model.id();
            model.close();
            model.close();
            assertThat(model).hasToString("NativeModel unet on cpu (closed)");
            assertThatExceptionOfType(InvalidHandleException.class)
                    .isThrownBy(model::parameters)
                    .withMessage("NativeModel unet on cpu is closed");
            assertThat(Native.modelClose(engine.id(), id, MemorySegment.NULL)).isEqualTo(Status.INVALID_HANDLE.code());
            sampler.step(1); // keeps its model
            sampler.close();
            assertThatExceptionOfType(InvalidHandleException.class).isThrownBy(sampler::latents);
        }
    }

    @Test
    void aTextTowerEncodes() {
        try (NativeModel model = NativeModel.openClipText(engine, text(2), FROZEN);
                DeviceTensor ids = engine.fromHost(new int[] {0, 3, 9, 0, 4, 9}, 2, 3)) {
            assertThat(model.kind()).isEqualTo(ModelKind.CLIP_TEXT);
            fill(model);
            try (EncodedText encoded = model.encodeText(ids, 0, true, true);
                    EncodedText skipped = model.encodeText(ids, 1, false, false)) {
                assertThat(encoded.hidden().shape()).containsExactly(2, 3, 8);
                assertThat(encoded.pooled().shape()).containsExactly(2, 8);
                assertThat(skipped.pooled()).isNull();
                assertThat(skipped.hidden().toFloats())
                        .isNotEqualTo(encoded.hidden().toFloats());
            }
        }
    }

    @Test
    void aVaeEncodesAndDecodes() {
        VaeSpec spec = new VaeSpec(3, 3, 4, List.of(8, 8), 1, 4, true, true, true);
        try (NativeModel model = NativeModel.openVae(engine, spec, FROZEN);
                DeviceTensor pixels = tensor(7, 1, 3, 12, 8)) {
            fill(model);
            try (Posterior posterior = model.encode(pixels, 0);
                    DeviceTensor decoded = model.decode(posterior.mean(), 0)) {
                assertThat(posterior.mean().shape()).containsExactly(1, 4, 6, 4);
                assertThat(posterior.logvar().shape()).containsExactly(1, 4, 6, 4);
                assertThat(decoded.shape()).containsExactly(1, 3, 12, 8);
            }
        }
    }

    @Test
    void aVisionTowerEncodes() {
        ClipVisionSpec spec = new ClipVisionSpec(8, 4, 3, 8, 16, 2, 2, ClipActivation.QUICK_GELU, 6, 1e-5);
        try (NativeModel model = NativeModel.openClipVision(engine, spec, FROZEN);
                DeviceTensor pixels = tensor(7, 2, 3, 8, 8)) {
            fill(model);
            try (DeviceTensor embeds = model.encodeImage(pixels)) {
                assertThat(embeds.shape()).containsExactly(2, 6);
            }
        }
    }

    // ---- small networks ----

    private static UNetSpec tiny() {
        return spec(4, 8);
    }

    private static UNetSpec spec(int groups, int channels) {
        return new UNetSpec(
                4,
                4,
                List.of(channels, channels),
                List.of(true, false),
                List.of(false, true),
                List.of(1, 1),
                List.of(1, 1),
                List.of(2, 2),
                6,
                false,
                groups,
                true,
                0,
                0,
                1e-5,
                0);
    }

    private static ClipTextSpec text(int layers) {
        return new ClipTextSpec(10, 5, 8, 16, 2, layers, ClipActivation.QUICK_GELU, 0, 9, 1e-5);
    }

    private static SamplerPlan plan(int steps) {
        return SamplerPlan.of(NoiseSchedule.stableDiffusion(), new Ddim(TimestepSpacing.LEADING, 0, true, 0), steps);
    }

    /// Writes every parameter.
    private static void fill(NativeModel model) {
        int salt = 0;
        for (ParameterInfo parameter : model.parameters()) {
            model.write(parameter.name(), DType.F32, parameter.shape(), FloatBuffer.wrap(values(parameter, ++salt)));
        }
    }

    /// Gains near 1 and small weights otherwise keep activations from vanishing or exploding.
    private static float[] values(ParameterInfo parameter, int salt) {
        boolean gain = parameter.shape().size() == 1 && parameter.name().endsWith(".weight");
        float[] values = some((int) parameter.elements(), salt);
        for (int i = 0; i < values.length; i++) {
            values[i] = gain ? 1 + 0.1f * values[i] : 0.2f * values[i];
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

    private DeviceTensor tensor(int salt, long... shape) {
        long elements = 1;
        for (long size : shape) {
            elements *= size;
        }
        return engine.fromHost(some((int) elements, salt), shape);
    }

    private static ParameterInfo named(NativeModel model, String name) {
        List<ParameterInfo> found = new ArrayList<>(model.parameters());
        found.removeIf(parameter -> !parameter.name().equals(name));
        return found.getFirst();
    }

    private static float[] run(NativeModel model, UNetInputs inputs) {
        try (DeviceTensor output = model.forward(inputs)) {
            return output.toFloats();
        }
    }

    private static float[] latents(NativeSampler sampler) {
        try (DeviceTensor latents = sampler.latents()) {
            return latents.toFloats();
        }
    }
}
