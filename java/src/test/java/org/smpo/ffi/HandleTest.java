package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.ToIntFunction;
import org.junit.jupiter.api.Test;
import org.smpo.io.DType;

/// Closed, stale, foreign and invented handles, and calls from the wrong thread: always an exception
/// with the reason, from Java and from the library.
class HandleTest {
    @Test
    void closeMayBeCalledAgain() {
        Engine engine = Engine.open(EngineConfig.onCpu());
        DeviceTensor tensor = engine.zeros(DType.F32, 2);
        assertThat(tensor.isClosed()).isFalse();
        tensor.close();
        tensor.close();
        assertThat(tensor.isClosed()).isTrue();
        assertThat(engine.statistics().openTensors()).isZero();
        engine.close();
        engine.close();
        tensor.close();
        assertThat(engine.isClosed()).isTrue();
    }

    @Test
    void aClosedTensorSaysSo() {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            DeviceTensor tensor = engine.zeros(DType.F32, 2, 3);
            tensor.close();
            for (Runnable call : callsOn(tensor)) {
                assertThatExceptionOfType(InvalidHandleException.class)
                        .isThrownBy(call::run)
                        .withMessageContaining("DeviceTensor f32[2, 3] on cpu is closed");
            }
            assertThat(tensor).hasToString("DeviceTensor f32[2, 3] on cpu (closed)");
            assertThat(tensor.shape()).containsExactly(2, 3);
        }
    }

    @Test
    void closingAnEngineClosesItsTensors() {
        Engine engine = Engine.open(EngineConfig.onCpu());
        DeviceTensor tensor = engine.zeros(DType.F32, 2, 3);
        long stale = tensor.id();
        engine.close();
        assertThat(tensor.isClosed()).isTrue();
        for (Runnable call : callsOn(tensor)) {
            assertThatExceptionOfType(InvalidHandleException.class)
                    .isThrownBy(call::run)
                    .withMessageContaining("is closed: its engine was closed");
        }
        try (Engine other = Engine.open(EngineConfig.onCpu())) {
            assertThat(Native.tensorClose(other.id(), stale, MemorySegment.NULL))
                    .isEqualTo(Status.INVALID_HANDLE.code());
        }
    }

    @Test
    void aClosedEngineSaysSo() {
        Engine engine = Engine.open(EngineConfig.onCpu());
        engine.close();
        for (Runnable call : callsOn(engine)) {
            assertThatExceptionOfType(InvalidHandleException.class)
                    .isThrownBy(call::run)
                    .withMessage("Engine on cpu is closed");
        }
        assertThat(engine.cancel()).isFalse();
        assertThat(engine.config()).isEqualTo(EngineConfig.onCpu());
    }

    @Test
    void aTensorOfAnotherEngineIsRefusedByJava() {
        try (Engine one = Engine.open(EngineConfig.onCpu());
                Engine two = Engine.open(EngineConfig.onCpu());
                DeviceTensor tensor = one.zeros(DType.F32, 2)) {
            for (Runnable call : List.<Runnable>of(
                    () -> two.convert(tensor, DType.BF16),
                    () -> two.fillNormal(tensor, 0, 0, new long[] {0, 1}),
                    () -> two.copyToHost(tensor, DType.F32, MemorySegment.ofArray(new float[2])))) {
                assertThatExceptionOfType(InvalidHandleException.class)
                        .isThrownBy(call::run)
                        .withMessageContaining("belongs to another engine");
            }
        }
    }

    /// The library's own refusals, without Java's earlier checks: each function that takes a handle,
    /// with each kind of invalid handle.
    @Test
    void theLibraryRefusesEveryInvalidHandle() {
        try (Engine engine = Engine.open(EngineConfig.onCpu());
                Engine other = Engine.open(EngineConfig.onCpu());
                Arena arena = Arena.ofConfined();
                DeviceTensor tensor = engine.zeros(DType.F32, 2);
                DeviceTensor foreign = other.zeros(DType.F32, 2)) {
            long session = engine.id();
            DeviceTensor closed = engine.zeros(DType.F32, 2);
            long closedTensor = closed.id();
            closed.close();
            Engine gone = Engine.open(EngineConfig.onCpu());
            long closedSession = gone.id();
            gone.close();

            Map<String, Long> noSessions =
                    new LinkedHashMap<>(Map.of("null", 0L, "a tensor", tensor.id(), "closed", closedSession));
            Map<String, Long> noTensors = new LinkedHashMap<>(
                    Map.of("null", 0L, "a session", session, "closed", closedTensor, "foreign", foreign.id()));
            SplittableRandom random = new SplittableRandom(7);
            for (int i = 0; i < 1000; i++) {
                // Half of them differ from a valid handle in one bit only.
                noSessions.put("random " + i, i % 2 == 0 ? random.nextLong() : session ^ (1L << random.nextInt(64)));
                noTensors.put("random " + i, i % 2 == 0 ? random.nextLong() : tensor.id() ^ (1L << random.nextInt(64)));
            }
            // A flipped bit may yield the other session or tensor, which are valid handles.
            noSessions.values().removeAll(List.of(session, other.id()));
            noTensors.values().removeAll(List.of(tensor.id()));
            assertThat(noSessions).hasSizeGreaterThan(900);
            assertThat(noTensors).hasSizeGreaterThan(900);

            Struct error = Struct.allocate(Native.ERROR, arena);
            sessionCalls(arena, tensor.id(), error.segment())
                    .forEach((name, call) -> noSessions.forEach((kind, handle) -> {
                        assertThat(call.applyAsInt(handle))
                                .as("%s with a session that is %s", name, kind)
                                .isEqualTo(Status.INVALID_HANDLE.code());
                        assertThat(error.getString("message")).contains(name, "session");
                    }));
            tensorCalls(arena, session, error.segment())
                    .forEach((name, call) -> noTensors.forEach((kind, handle) -> {
                        assertThat(call.applyAsInt(handle))
                                .as("%s with a tensor that is %s", name, kind)
                                .isEqualTo(Status.INVALID_HANDLE.code());
                        assertThat(error.getString("message")).contains(name, "tensor");
                    }));
            assertThat(tensor.toFloats()).containsExactly(0f, 0f);
        }
    }

    /// Null pointers and structs of a wrong size cannot come from the public classes; the library refuses
    /// them too.
    @Test
    void theLibraryRefusesNullPointersAndWrongStructs() {
        try (Engine engine = Engine.open(EngineConfig.onCpu());
                Arena arena = Arena.ofConfined();
                DeviceTensor tensor = engine.zeros(DType.F32, 2)) {
            long session = engine.id();
            long id = tensor.id();
            MemorySegment none = MemorySegment.NULL;
            Struct error = Struct.allocate(Native.ERROR, arena);
            MemorySegment e = error.segment();
            Struct spec = Struct.allocate(Native.TENSOR_SPEC, arena);
            spec.set("dtype", DTypeCode.of(DType.F32));
            MemorySegment out = arena.allocate(JAVA_LONG);
            MemorySegment unsized = arena.allocate(2048);
            Struct truncated = Struct.allocate(Native.SESSION_STATISTICS, arena);
            truncated.set("size", (int) Native.SESSION_STATISTICS.byteSize() - 8);

            int[] statuses = {
                Native.abiVersion(none, e),
                Native.abiHeaderSha256(none, 65, e),
                Native.abiHeaderSha256(unsized, 64, e),
                Native.libraryDescribe(none, e),
                Native.libraryDescribe(unsized, e),
                Native.cpuDescribe(none, e),
                Native.cpuDescribe(unsized, e),
                Native.cudaDescribe(none, e),
                Native.cudaDescribe(unsized, e),
                Native.cudaDeviceDescribe(0, none, e),
                Native.cudaDeviceDescribe(0, unsized, e),
                Native.sessionOpen(none, out, e),
                Native.sessionOpen(unsized, out, e),
                Native.sessionDescribe(session, none, e),
                Native.sessionDescribe(session, unsized, e),
                Native.sessionDescribe(session, truncated.segment(), e),
                Native.sessionDrainLog(session, none, 1, out, e),
                Native.sessionDrainLog(session, unsized, 1, out, e),
                Native.sessionDrainLog(session, unsized, 0, none, e),
                Native.debugRaise(session, 99, 0, e),
                Native.tensorZeros(session, none, out, e),
                Native.tensorZeros(session, unsized, out, e),
                Native.tensorZeros(session, spec.segment(), none, e),
                Native.tensorFromHost(session, none, unsized, 4, out, e),
                Native.tensorFromHost(session, spec.segment(), none, 4, out, e),
                Native.tensorFromHost(session, spec.segment(), unsized, 4, none, e),
                Native.tensorToHost(session, id, none, unsized, 8, e),
                Native.tensorDescribe(session, id, none, e),
                Native.tensorDescribe(session, id, unsized, e),
                Native.tensorConvert(session, id, DTypeCode.of(DType.F16), none, e),
                Native.tensorConvert(session, id, 77, out, e),
                Native.tensorFillNormal(session, id, 0, 0, none, 2, e),
            };
            for (int i = 0; i < statuses.length; i++) {
                assertThat(statuses[i]).as("call %d", i).isEqualTo(Status.INVALID_ARGUMENT.code());
            }
            // An error struct of a wrong size is not written to.
            assertThat(Native.sessionSynchronize(session, unsized)).isEqualTo(Status.INVALID_ARGUMENT.code());
            assertThat(unsized.mismatch(arena.allocate(2048))).isEqualTo(-1);
            assertThat(tensor.toFloats()).containsExactly(0f, 0f);
        }
    }

    @Test
    void anotherThreadIsRefusedByJava() throws InterruptedException {
        try (Engine engine = Engine.open(EngineConfig.onCpu());
                DeviceTensor tensor = engine.zeros(DType.F32, 2, 3)) {
            List<Runnable> calls = new ArrayList<>(callsOn(engine));
            calls.addAll(callsOn(tensor));
            calls.add(tensor::close);
            calls.add(engine::close);
            List<Throwable> thrown = onAnotherThread(calls);
            assertThat(thrown)
                    .hasSameSizeAs(calls)
                    .allSatisfy(e -> assertThat(e)
                            .isInstanceOf(NotOwnerThreadException.class)
                            .hasMessageContaining("belongs to thread \""
                                    + Thread.currentThread().getName() + "\"")
                            .hasMessageContaining("called from \"intruder\""));
            assertThat(tensor.isClosed()).isFalse();
            assertThat(tensor.toFloats()).hasSize(6).containsOnly(0f);
        }
    }

    @Test
    void anotherThreadIsRefusedByTheLibrary() throws InterruptedException {
        try (Engine engine = Engine.open(EngineConfig.onCpu());
                DeviceTensor tensor = engine.zeros(DType.F32, 2)) {
            long session = engine.id();
            long id = tensor.id();
            Map<String, Integer> statuses = new LinkedHashMap<>();
            Thread intruder = new Thread(() -> {
                try (Arena arena = Arena.ofConfined()) {
                    MemorySegment error = Struct.allocate(Native.ERROR, arena).segment();
                    sessionCalls(arena, id, error)
                            .forEach((name, call) -> statuses.put(name, call.applyAsInt(session)));
                }
            });
            intruder.start();
            intruder.join();
            assertThat(statuses.remove("smpo_session_cancel")).isEqualTo(Status.OK.code());
            assertThat(statuses)
                    .hasSizeGreaterThan(10)
                    .allSatisfy((name, status) -> assertThat(status).as(name).isEqualTo(Status.WRONG_THREAD.code()));
            assertThat(tensor.toFloats()).containsExactly(0f, 0f);
        }
    }

    @Test
    void aVirtualThreadCannotOwnAnEngine() throws InterruptedException {
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread.ofVirtual()
                .start(() -> thrown.set(catchThrowable(() -> Engine.open(EngineConfig.onCpu()))))
                .join();
        assertThat(thrown.get()).isInstanceOf(NotOwnerThreadException.class).hasMessageContaining("platform thread");
    }

    private static List<Runnable> callsOn(Engine engine) {
        return List.of(
                engine::synchronize,
                engine::trim,
                engine::statistics,
                engine::drainLog,
                engine::abiVersion,
                () -> engine.raise(0, 0),
                () -> engine.zeros(DType.F32, 1),
                () -> engine.fromHost(new float[1], 1),
                () -> engine.fromHost(new int[1], 1),
                () -> engine.fromHost(new long[1], 1),
                () -> engine.fromHost(DType.F16, MemorySegment.ofArray(new short[1]), 1));
    }

    /// Calls that are valid for an f32 tensor of 2x3.
    private static List<Runnable> callsOn(DeviceTensor tensor) {
        return List.of(
                tensor::toFloats,
                () -> tensor.convert(DType.BF16),
                () -> tensor.fillNormal(0, 0, 0, 1),
                () -> tensor.copyToHost(new float[6]),
                () -> tensor.copyToHost(new int[6]),
                () -> tensor.copyToHost(new long[6]),
                () -> tensor.copyToHost(MemorySegment.ofArray(new float[6])));
    }

    /// Every function that takes a session, by name, as a function of the session. All other arguments
    /// are valid.
    private static Map<String, ToIntFunction<Long>> sessionCalls(Arena arena, long tensor, MemorySegment error) {
        MemorySegment statistics =
                Struct.allocate(Native.SESSION_STATISTICS, arena).segment();
        MemorySegment record = Struct.allocate(Native.LOG_RECORD, arena).segment();
        MemorySegment out = arena.allocate(JAVA_LONG);
        MemorySegment data = arena.allocate(8);
        MemorySegment items = arena.allocate(JAVA_LONG, 2);
        MemorySegment spec = spec(arena);
        Map<String, ToIntFunction<Long>> calls = new LinkedHashMap<>();
        calls.put("smpo_session_cancel", s -> Native.sessionCancel(s, error));
        calls.put("smpo_session_synchronize", s -> Native.sessionSynchronize(s, error));
        calls.put("smpo_session_trim", s -> Native.sessionTrim(s, error));
        calls.put("smpo_session_describe", s -> Native.sessionDescribe(s, statistics, error));
        calls.put("smpo_session_drain_log", s -> Native.sessionDrainLog(s, record, 1, out, error));
        calls.put("smpo_debug_raise", s -> Native.debugRaise(s, 0, 0, error));
        calls.put("smpo_tensor_zeros", s -> Native.tensorZeros(s, spec, out, error));
        calls.put("smpo_tensor_from_host", s -> Native.tensorFromHost(s, spec, data, 8, out, error));
        calls.put("smpo_tensor_to_host", s -> Native.tensorToHost(s, tensor, spec, data, 8, error));
        calls.put("smpo_tensor_describe", s -> Native.tensorDescribe(s, tensor, spec, error));
        calls.put("smpo_tensor_convert", s -> Native.tensorConvert(s, tensor, DTypeCode.of(DType.F16), out, error));
        calls.put("smpo_tensor_fill_normal", s -> Native.tensorFillNormal(s, tensor, 0, 0, items, 2, error));
        calls.put("smpo_tensor_close", s -> Native.tensorClose(s, tensor, error));
        calls.put("smpo_session_close", s -> Native.sessionClose(s, error));
        return calls;
    }

    /// Likewise every function that takes a tensor.
    private static Map<String, ToIntFunction<Long>> tensorCalls(Arena arena, long session, MemorySegment error) {
        MemorySegment out = arena.allocate(JAVA_LONG);
        MemorySegment data = arena.allocate(8);
        MemorySegment items = arena.allocate(JAVA_LONG, 2);
        MemorySegment spec = spec(arena);
        Map<String, ToIntFunction<Long>> calls = new LinkedHashMap<>();
        calls.put("smpo_tensor_to_host", t -> Native.tensorToHost(session, t, spec, data, 8, error));
        calls.put("smpo_tensor_describe", t -> Native.tensorDescribe(session, t, spec, error));
        calls.put("smpo_tensor_convert", t -> Native.tensorConvert(session, t, DTypeCode.of(DType.F16), out, error));
        calls.put("smpo_tensor_fill_normal", t -> Native.tensorFillNormal(session, t, 0, 0, items, 2, error));
        calls.put("smpo_tensor_close", t -> Native.tensorClose(session, t, error));
        return calls;
    }

    /// An f32 tensor of two elements.
    private static MemorySegment spec(Arena arena) {
        Struct spec = Struct.allocate(Native.TENSOR_SPEC, arena);
        spec.set("dtype", DTypeCode.of(DType.F32));
        spec.set("rank", 1);
        spec.segment().set(JAVA_LONG, 16, 2);
        return spec.segment();
    }

    private static List<Throwable> onAnotherThread(List<Runnable> calls) throws InterruptedException {
        List<Throwable> thrown = new ArrayList<>();
        Thread thread = new Thread(() -> calls.forEach(call -> thrown.add(catchThrowable(call::run))), "intruder");
        thread.start();
        thread.join();
        return thrown;
    }
}
