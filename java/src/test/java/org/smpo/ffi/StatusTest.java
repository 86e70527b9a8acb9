package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.smpo.io.DType;

/// Every status arrives as its own exception, raised inside the engine and carried across the border.
class StatusTest {
    private static final Map<Status, Class<? extends EngineException>> TYPES = Map.ofEntries(
            Map.entry(Status.INVALID_ARGUMENT, InvalidArgumentException.class),
            Map.entry(Status.SHAPE_MISMATCH, ShapeMismatchException.class),
            Map.entry(Status.DTYPE_MISMATCH, DTypeMismatchException.class),
            Map.entry(Status.INVALID_HANDLE, InvalidHandleException.class),
            Map.entry(Status.WRONG_THREAD, NotOwnerThreadException.class),
            Map.entry(Status.UNSUPPORTED, NotSupportedException.class),
            Map.entry(Status.OUT_OF_MEMORY, EngineOutOfMemoryException.class),
            Map.entry(Status.DEVICE_FAULT, DeviceFaultException.class),
            Map.entry(Status.SESSION_POISONED, PoisonedSessionException.class),
            Map.entry(Status.CANCELLED, CancelledException.class),
            Map.entry(Status.NON_FINITE, NonFiniteException.class),
            Map.entry(Status.INTERNAL, InternalEngineException.class),
            Map.entry(Status.PEER_LOST, PeerLostException.class));

    @ParameterizedTest
    @EnumSource(names = "OK", mode = EnumSource.Mode.EXCLUDE)
    void aStatusBecomesItsException(Status status) {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            EngineException e = catchThrowableOfType(
                    EngineException.class, () -> engine.raise(Raise.ENGINE_ERROR.code(), status.code()));
            assertThat(e).isExactlyInstanceOf(TYPES.get(status)).hasMessageStartingWith("smpo_debug_raise: ");
            assertThat(e.status()).isEqualTo(status);
            assertThat(e.getMessage()).hasSizeGreaterThan("smpo_debug_raise: ".length());
        }
    }

    @Test
    void everyExceptionOfTheHierarchyHasItsStatus() {
        assertThat(TYPES.values()).containsExactlyInAnyOrder(permitted());
        assertThat(TYPES.keySet()).hasSize(Status.values().length - 1);
    }

    @SuppressWarnings("unchecked")
    private static Class<? extends EngineException>[] permitted() {
        return (Class<? extends EngineException>[]) EngineException.class.getPermittedSubclasses();
    }

    @ParameterizedTest
    @CsvSource({
        "INVALID_ARGUMENT, INVALID_ARGUMENT",
        "BAD_ALLOC, OUT_OF_MEMORY",
        "RUNTIME_ERROR, INTERNAL",
        "TORCH_ERROR, INTERNAL",
        "TORCH_OUT_OF_MEMORY, OUT_OF_MEMORY",
        "FOREIGN, INTERNAL"
    })
    void noExceptionOfTheLibraryEscapes(Raise kind, Status expected) {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            assertThatExceptionOfType(EngineException.class)
                    .isThrownBy(() -> engine.raise(kind.code(), 0))
                    .satisfies(e -> assertThat(e.status()).isEqualTo(expected))
                    .isExactlyInstanceOf(TYPES.get(expected))
                    .withMessageStartingWith("smpo_debug_raise: ");
            engine.synchronize();
        }
    }

    @Test
    void nothingRaisedIsNoException() {
        try (Engine engine = Engine.open(EngineConfig.onCpu())) {
            assertThatCode(() -> engine.raise(Raise.NOTHING.code(), Status.INTERNAL.code()))
                    .doesNotThrowAnyException();
        }
    }

    @Test
    void aDeviceFaultPoisonsTheSessionAndOnlyThatOne() {
        try (Engine other = Engine.open(EngineConfig.onCpu())) {
            Engine engine = Engine.open(EngineConfig.onCpu());
            DeviceTensor tensor = engine.zeros(DType.F32, 3);
            DeviceFaultException fault =
                    catchThrowableOfType(DeviceFaultException.class, () -> engine.raise(Raise.DEVICE_FAULT.code(), 0));
            assertThat(fault.detail()).isNotZero();
            String first = fault.getMessage().substring("smpo_debug_raise: ".length());

            for (Runnable call : new Runnable[] {
                engine::synchronize,
                engine::trim,
                engine::statistics,
                engine::drainLog,
                () -> engine.zeros(DType.F32, 1),
                tensor::toFloats,
                () -> tensor.convert(DType.F16),
                () -> tensor.fillNormal(0, 0, 0, 1, 2)
            }) {
                assertThatExceptionOfType(PoisonedSessionException.class)
                        .isThrownBy(call::run)
                        .withMessageContaining(first)
                        .satisfies(e -> assertThat(e.detail()).isEqualTo(fault.detail()));
            }
            assertThatCode(tensor::close).doesNotThrowAnyException();
            assertThatCode(engine::close).doesNotThrowAnyException();
            assertThat(other.zeros(DType.F32, 2).toFloats()).containsExactly(0f, 0f);
        }
    }
}
