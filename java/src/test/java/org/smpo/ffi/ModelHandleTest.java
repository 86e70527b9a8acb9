package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.function.ToIntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.smpo.io.DType;
import org.smpo.schedule.Ddim;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSpacing;

/// Closed, stale, foreign and invented handles of models and samplers, other kinds of models, other
/// threads, like [HandleTest] for engines and tensors. Covers every function of the ABI that takes such
/// a handle.
class ModelHandleTest {
    private static final ModelOptions FROZEN = ModelOptions.frozen(DType.F32);

    private Engine engine;
    private NativeModel unet;
    private NativeModel vae;
    private NativeModel text;
    private NativeModel vision;
    private NativeSampler sampler;
    private DeviceTensor latents;
    private DeviceTensor timesteps;
    private DeviceTensor words;
    private DeviceTensor ids;
    private DeviceTensor pixels;

    @BeforeEach
    void open() {
        engine = Engine.open(EngineConfig.onCpu());
        unet = filled(NativeModel.openUNet(engine, unetSpec(), FROZEN));
        vae = filled(NativeModel.openVae(engine, new VaeSpec(3, 3, 4, List.of(8, 8), 1, 4, true, true, true), FROZEN));
        text = filled(NativeModel.openClipText(
                engine, new ClipTextSpec(10, 5, 8, 16, 2, 1, ClipActivation.GELU, 6, 9, 1e-5), FROZEN));
        vision = filled(NativeModel.openClipVision(
                engine, new ClipVisionSpec(8, 4, 3, 8, 16, 2, 1, ClipActivation.GELU, 6, 1e-5), FROZEN));
        latents = engine.zeros(DType.F32, 1, 4, 4, 4);
        timesteps = engine.zeros(DType.F32, 1);
        words = engine.zeros(DType.F32, 1, 5, 6);
        ids = engine.fromHost(new int[] {0, 3, 9}, 1, 3);
        pixels = engine.zeros(DType.F32, 1, 3, 8, 8);
        sampler = NativeSampler.open(unet, plan(), inputs(latents, words));
    }

    @AfterEach
    void close() {
        engine.close();
    }

    @Test
    void theCallsAreValidOtherwise() {
        requireAllWork();
    }

    private void requireAllWork() {
        calls().forEach((name, call) ->
                assertThat(catchThrowable(call::run)).as(name).isNull());
    }

    @Test
    void aClosedModelOrSamplerSaysSo() {
        Map<String, Runnable> calls = calls();
        for (Handle handle : List.of(sampler, unet, vae, text, vision)) {
            handle.close();
            handle.close();
        }
        calls.forEach((name, call) -> assertThatExceptionOfType(InvalidHandleException.class)
                .as(name)
                .isThrownBy(call::run)
                .withMessageContaining("is closed"));
    }

    @Test
    void closingTheEngineClosesThem() {
        Map<String, Runnable> calls = calls();
        engine.close();
        assertThat(List.of(sampler, unet, vae, text, vision)).allMatch(Handle::isClosed);
        calls.forEach((name, call) -> assertThatExceptionOfType(InvalidHandleException.class)
                .as(name)
                .isThrownBy(call::run)
                .withMessageContaining("its engine was closed"));
    }

    @Test
    void anotherThreadIsRefusedByJava() throws InterruptedException {
        Map<String, Runnable> calls = calls();
        for (Handle handle : List.of(sampler, unet, vae, text, vision)) {
            calls.put("close of " + handle, handle::close);
        }
        calls.put("open a model", () -> NativeModel.openUNet(engine, unetSpec(), FROZEN));
        calls.put("open a sampler", () -> NativeSampler.open(unet, plan(), inputs(latents, words)));
        Map<String, Throwable> thrown = new LinkedHashMap<>();
        Thread intruder = new Thread(
                () -> calls.forEach((name, call) -> thrown.put(name, catchThrowable(call::run))), "intruder");
        intruder.start();
        intruder.join();
        assertThat(thrown)
                .hasSameSizeAs(calls)
                .allSatisfy((name, e) -> assertThat(e)
                        .as(name)
                        .isInstanceOf(NotOwnerThreadException.class)
                        .hasMessageContaining("called from \"intruder\""));
        assertThat(List.of(sampler, unet, vae, text, vision)).noneMatch(Handle::isClosed);
    }

    @Test
    void tensorsOfAnotherEngineAreRefusedByJava() {
        try (Engine other = Engine.open(EngineConfig.onCpu());
                DeviceTensor foreign = other.zeros(DType.F32, 1, 4, 4, 4)) {
            Map<String, Runnable> calls = new LinkedHashMap<>();
            calls.put(
                    "forward",
                    () -> unet.forward(UNetInputs.of(foreign, timesteps, words)).close());
            calls.put(
                    "backward",
                    () -> unet.backward(UNetInputs.of(latents, timesteps, words), foreign, true)
                            .close());
            calls.put("encode", () -> vae.encode(foreign, 0).close());
            calls.put("decode", () -> vae.decode(foreign, 0).close());
            calls.put(
                    "encodeText", () -> text.encodeText(foreign, 0, true, true).close());
            calls.put("encodeImage", () -> vision.encodeImage(foreign).close());
            calls.put(
                    "sampler's noise",
                    () -> NativeSampler.open(unet, plan(), inputs(foreign, words))
                            .close());
            calls.put(
                    "sampler's text",
                    () -> NativeSampler.open(unet, plan(), inputs(latents, foreign))
                            .close());
            calls.forEach((name, call) -> assertThatExceptionOfType(InvalidHandleException.class)
                    .as(name)
                    .isThrownBy(call::run)
                    .withMessageContaining("belongs to another engine"));
        }
    }

    @Test
    void anotherKindOfModelIsRefused() {
        Map<String, Runnable> calls = new LinkedHashMap<>();
        for (NativeModel other : List.of(vae, text, vision)) {
            calls.put(
                    "forward of " + other,
                    () -> other.forward(UNetInputs.of(latents, timesteps, words))
                            .close());
            calls.put(
                    "backward of " + other,
                    () -> other.backward(UNetInputs.of(latents, timesteps, words), latents, false)
                            .close());
            calls.put(
                    "sampler of " + other,
                    () -> NativeSampler.open(other, plan(), inputs(latents, words))
                            .close());
        }
        for (NativeModel other : List.of(unet, text, vision)) {
            calls.put("encode of " + other, () -> other.encode(pixels, 0).close());
            calls.put("decode of " + other, () -> other.decode(latents, 0).close());
        }
        for (NativeModel other : List.of(unet, vae, vision)) {
            calls.put(
                    "encodeText of " + other,
                    () -> other.encodeText(ids, 0, true, false).close());
        }
        for (NativeModel other : List.of(unet, vae, text)) {
            calls.put("encodeImage of " + other, () -> other.encodeImage(pixels).close());
        }
        calls.forEach((name, call) -> assertThatExceptionOfType(InvalidHandleException.class)
                .as(name)
                .isThrownBy(call::run)
                .withMessageContaining("model of another kind"));
    }

    /// The library's own refusals, without Java's earlier checks.
    @Test
    void theLibraryRefusesEveryInvalidHandle() {
        try (Engine other = Engine.open(EngineConfig.onCpu());
                NativeModel foreignModel = filled(NativeModel.openUNet(other, unetSpec(), FROZEN));
                DeviceTensor foreignNoise = other.zeros(DType.F32, 1, 4, 4, 4);
                DeviceTensor foreignWords = other.zeros(DType.F32, 1, 5, 6);
                NativeSampler foreignSampler =
                        NativeSampler.open(foreignModel, plan(), inputs(foreignNoise, foreignWords));
                Arena arena = Arena.ofConfined()) {
            long session = engine.id();
            NativeModel closed = NativeModel.openUNet(engine, unetSpec(), FROZEN);
            long closedModel = closed.id();
            closed.close();
            NativeSampler over = NativeSampler.open(unet, plan(), inputs(latents, words));
            long closedSampler = over.id();
            over.close();

            Map<String, Long> common = Map.of("null", 0L, "a session", session, "a tensor", latents.id());
            Map<String, Long> noModels = new LinkedHashMap<>(common);
            noModels.putAll(Map.of("closed", closedModel, "foreign", foreignModel.id(), "a sampler", sampler.id()));
            Map<String, Long> noSamplers = new LinkedHashMap<>(common);
            noSamplers.putAll(Map.of("closed", closedSampler, "foreign", foreignSampler.id(), "a model", unet.id()));
            Map<String, Long> noSessions = new LinkedHashMap<>(
                    Map.of("null", 0L, "a tensor", latents.id(), "a model", unet.id(), "a sampler", sampler.id()));
            SplittableRandom random = new SplittableRandom(11);
            for (int i = 0; i < 200; i++) {
                // Half of them differ from a valid handle in one bit only.
                boolean near = i % 2 == 1;
                long flipped = 1L << random.nextInt(64);
                noModels.put("random " + i, near ? unet.id() ^ flipped : random.nextLong());
                noSamplers.put("random " + i, near ? sampler.id() ^ flipped : random.nextLong());
                noSessions.put("random " + i, near ? session ^ flipped : random.nextLong());
            }
            // A flipped bit may yield another model or the other session, which are valid handles.
            noModels.values().removeAll(List.of(unet.id(), vae.id(), text.id(), vision.id()));
            noSamplers.values().remove(sampler.id());
            noSessions.values().removeAll(List.of(session, other.id()));

            Struct error = Struct.allocate(Native.ERROR, arena);
            refused(modelCalls(arena, session, error.segment()), noModels, "model", error);
            refused(samplerCalls(arena, session, error.segment()), noSamplers, "sampler", error);
            refused(sessionCalls(arena, error.segment()), noSessions, "session", error);
            // The valid handles still work.
            requireAllWork();
        }
    }

    @Test
    void anotherThreadIsRefusedByTheLibrary() throws InterruptedException {
        long session = engine.id();
        Map<String, Integer> statuses = new LinkedHashMap<>();
        Map<String, Long> own = Map.of("model", unet.id(), "sampler", sampler.id(), "session", session);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment error = Struct.allocate(Native.ERROR, arena).segment();
            Map<String, ToIntFunction<Long>> models = modelCalls(arena, session, error);
            Map<String, ToIntFunction<Long>> samplers = samplerCalls(arena, session, error);
            Map<String, ToIntFunction<Long>> opens = sessionCalls(arena, error);
            Thread intruder = new Thread(() -> {
                models.forEach((name, call) -> statuses.put(name, call.applyAsInt(own.get("model"))));
                samplers.forEach((name, call) -> statuses.put(name, call.applyAsInt(own.get("sampler"))));
                opens.forEach((name, call) -> statuses.put(name, call.applyAsInt(session)));
            });
            intruder.start();
            intruder.join();
        }
        assertThat(statuses)
                .hasSizeGreaterThan(20)
                .allSatisfy((name, status) -> assertThat(status).as(name).isEqualTo(Status.WRONG_THREAD.code()));
        requireAllWork();
    }

    /// The sweep covers every function that takes or opens a model or a sampler.
    @Test
    void theSweepIsWhole() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Struct.allocate(Native.ERROR, arena).segment();
            TreeSet<String> swept = new TreeSet<>();
            swept.addAll(modelCalls(arena, 0, error).keySet());
            swept.addAll(samplerCalls(arena, 0, error).keySet());
            swept.addAll(sessionCalls(arena, error).keySet());
            TreeSet<String> bound = new TreeSet<>(Native.functions().keySet());
            bound.removeIf(name -> !name.matches("smpo_(model|unet|vae|clip|sampler)_.*"));
            assertThat(swept).containsAll(bound);
        }
    }

    private static void refused(
            Map<String, ToIntFunction<Long>> calls, Map<String, Long> handles, String what, Struct error) {
        calls.forEach((name, call) -> handles.forEach((kind, handle) -> {
            assertThat(call.applyAsInt(handle))
                    .as("%s with a %s that is %s", name, what, kind)
                    .isEqualTo(Status.INVALID_HANDLE.code());
            assertThat(error.getString("message")).contains(name, what);
        }));
    }

    // ---- calls ----

    /// Every method of a model or a sampler with valid arguments, except those that change it
    /// permanently.
    private Map<String, Runnable> calls() {
        UNetInputs inputs = UNetInputs.of(latents, timesteps, words);
        ParameterInfo bias = new ArrayList<>(unet.parameters()).getFirst();
        float[] values = new float[Math.toIntExact(bias.elements())];
        Map<String, Runnable> calls = new LinkedHashMap<>();
        calls.put("info", unet::info);
        calls.put("parameters", unet::parameters);
        calls.put("read", () -> unet.read(bias));
        calls.put("write", () -> unet.write(bias.name(), DType.F32, bias.shape(), FloatBuffer.wrap(values)));
        calls.put("forward", () -> unet.forward(inputs).close());
        calls.put("encode", () -> vae.encode(pixels, 0).close());
        calls.put("decode", () -> vae.decode(latents, 0).close());
        calls.put("encodeText", () -> text.encodeText(ids, 0, true, true).close());
        calls.put("encodeImage", () -> vision.encodeImage(pixels).close());
        calls.put("latents", () -> sampler.latents().close());
        return calls;
    }

    /// Every function that takes a model, by name, as a function of the model.
    private Map<String, ToIntFunction<Long>> modelCalls(Arena arena, long session, MemorySegment error) {
        MemorySegment out = arena.allocate(JAVA_LONG, 2);
        MemorySegment second = out.asSlice(Long.BYTES);
        MemorySegment info = Struct.allocate(Native.MODEL_INFO, arena).segment();
        MemorySegment parameter = Struct.allocate(Native.PARAMETER_INFO, arena).segment();
        MemorySegment name = arena.allocateFrom("conv_in.bias");
        MemorySegment data = arena.allocate(32);
        Struct eight = Struct.allocate(Native.TENSOR_SPEC, arena);
        eight.set("dtype", DTypeCode.of(DType.F32));
        eight.set("rank", 1);
        eight.segment().set(JAVA_LONG, 16, 8);
        MemorySegment spec = eight.segment();
        Struct lora = Struct.allocate(Native.LORA_SPEC, arena);
        Struct unetInputs = Struct.allocate(Native.UNET_INPUTS, arena);
        unetInputs.set("sample", latents.id());
        unetInputs.set("timesteps", timesteps.id());
        unetInputs.set("encoder_hidden_states", words.id());
        MemorySegment inputs = unetInputs.segment();
        Struct plan = Struct.allocate(Native.SAMPLER_PLAN, arena);
        Struct start = Struct.allocate(Native.SAMPLER_INPUTS, arena);
        long image = pixels.id();
        long latent = latents.id();
        long tokens = ids.id();
        Map<String, ToIntFunction<Long>> calls = new LinkedHashMap<>();
        calls.put("smpo_model_describe", m -> Native.modelDescribe(session, m, info, error));
        calls.put("smpo_model_parameter", m -> Native.modelParameter(session, m, 0, parameter, error));
        calls.put(
                "smpo_model_write_parameter", m -> Native.modelWriteParameter(session, m, name, spec, data, 32, error));
        calls.put("smpo_model_read_parameter", m -> Native.modelReadParameter(session, m, name, spec, data, 32, error));
        calls.put("smpo_model_read_gradient", m -> Native.modelReadGradient(session, m, name, spec, data, 32, error));
        calls.put("smpo_model_zero_gradients", m -> Native.modelZeroGradients(session, m, error));
        calls.put("smpo_model_add_lora", m -> Native.modelAddLora(session, m, lora.segment(), error));
        calls.put("smpo_model_set_lora_scale", m -> Native.modelSetLoraScale(session, m, 1, error));
        calls.put("smpo_model_merge_lora", m -> Native.modelMergeLora(session, m, 1, error));
        calls.put("smpo_unet_forward", m -> Native.unetForward(session, m, inputs, out, error));
        calls.put("smpo_unet_backward", m -> Native.unetBackward(session, m, inputs, latent, out, second, error));
        calls.put("smpo_vae_encode", m -> Native.vaeEncode(session, m, image, 0, out, second, error));
        calls.put("smpo_vae_decode", m -> Native.vaeDecode(session, m, latent, 0, out, error));
        calls.put("smpo_clip_text_encode", m -> Native.clipTextEncode(session, m, tokens, 0, 1, out, second, error));
        calls.put("smpo_clip_vision_encode", m -> Native.clipVisionEncode(session, m, image, out, error));
        calls.put("smpo_clip_vision_backward", m -> Native.clipVisionBackward(session, m, image, image, out, error));
        calls.put("smpo_vae_decode_backward", m -> Native.vaeDecodeBackward(session, m, latent, 0, image, out, error));
        calls.put("smpo_bert_encode", m -> Native.bertEncode(session, m, tokens, image, out, error));
        calls.put(
                "smpo_sampler_open", m -> Native.samplerOpen(session, m, plan.segment(), start.segment(), out, error));
        calls.put("smpo_model_close", m -> Native.modelClose(session, m, error));
        return calls;
    }

    /// Likewise every function that takes a sampler.
    private static Map<String, ToIntFunction<Long>> samplerCalls(Arena arena, long session, MemorySegment error) {
        MemorySegment out = arena.allocate(JAVA_LONG);
        Map<String, ToIntFunction<Long>> calls = new LinkedHashMap<>();
        calls.put("smpo_sampler_step", s -> Native.samplerStep(session, s, 1, error));
        calls.put("smpo_sampler_latents", s -> Native.samplerLatents(session, s, out, error));
        MemorySegment candidates =
                Struct.allocate(Native.SAMPLER_CANDIDATES, arena).segment();
        MemorySegment choice = arena.allocate(JAVA_INT);
        calls.put("smpo_sampler_fork", s -> Native.samplerFork(session, s, candidates, out, error));
        calls.put("smpo_sampler_candidate", s -> Native.samplerCandidate(session, s, choice, out, error));
        calls.put("smpo_sampler_move", s -> Native.samplerMove(session, s, choice, 0, out, error));
        calls.put("smpo_sampler_pairs", s -> Native.samplerPairs(session, s, choice, choice, out, out, error));
        calls.put("smpo_sampler_select", s -> Native.samplerSelect(session, s, choice, error));
        calls.put("smpo_sampler_close", s -> Native.samplerClose(session, s, error));
        return calls;
    }

    /// The functions that open a model, as functions of the session.
    private static Map<String, ToIntFunction<Long>> sessionCalls(Arena arena, MemorySegment error) {
        MemorySegment out = arena.allocate(JAVA_LONG);
        MemorySegment options = Struct.allocate(Native.MODEL_OPTIONS, arena).segment();
        MemorySegment unet = Struct.allocate(Native.UNET_SPEC, arena).segment();
        MemorySegment vae = Struct.allocate(Native.VAE_SPEC, arena).segment();
        MemorySegment text = Struct.allocate(Native.CLIP_TEXT_SPEC, arena).segment();
        MemorySegment vision = Struct.allocate(Native.CLIP_VISION_SPEC, arena).segment();
        MemorySegment bert = Struct.allocate(Native.BERT_SPEC, arena).segment();
        Map<String, ToIntFunction<Long>> calls = new LinkedHashMap<>();
        calls.put("smpo_unet_open", s -> Native.unetOpen(s, unet, options, out, error));
        calls.put("smpo_vae_open", s -> Native.vaeOpen(s, vae, options, out, error));
        calls.put("smpo_clip_text_open", s -> Native.clipTextOpen(s, text, options, out, error));
        calls.put("smpo_clip_vision_open", s -> Native.clipVisionOpen(s, vision, options, out, error));
        calls.put("smpo_bert_open", s -> Native.bertOpen(s, bert, options, out, error));
        return calls;
    }

    // ---- small networks ----

    private static UNetSpec unetSpec() {
        return new UNetSpec(
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
    }

    private static SamplerPlan plan() {
        return SamplerPlan.of(NoiseSchedule.stableDiffusion(), new Ddim(TimestepSpacing.LEADING, 0, true, 0), 1);
    }

    private static SamplerInputs inputs(DeviceTensor noise, DeviceTensor words) {
        return new SamplerInputs(
                noise,
                new SamplerInputs.Condition(words, null, null),
                null,
                1,
                0,
                null,
                new SamplerInputs.NegativeNetwork.Same());
    }

    private static NativeModel filled(NativeModel model) {
        for (ParameterInfo parameter : model.parameters()) {
            float[] values = new float[Math.toIntExact(parameter.elements())];
            model.write(parameter.name(), DType.F32, parameter.shape(), FloatBuffer.wrap(values));
        }
        return model;
    }
}
