package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.util.Objects;
import java.util.function.Consumer;

/// Opens one kind of [NativeModel].
///
/// @param kind kind of the model
/// @param layout struct of its architecture
/// @param function name of the library's function, for messages
/// @param call the library's function
record ModelOpener(ModelKind kind, StructLayout layout, String function, Call call) {
    static final ModelOpener UNET =
            new ModelOpener(ModelKind.UNET, Native.UNET_SPEC, "smpo_unet_open", Native::unetOpen);
    static final ModelOpener VAE = new ModelOpener(ModelKind.VAE, Native.VAE_SPEC, "smpo_vae_open", Native::vaeOpen);
    static final ModelOpener CLIP_TEXT =
            new ModelOpener(ModelKind.CLIP_TEXT, Native.CLIP_TEXT_SPEC, "smpo_clip_text_open", Native::clipTextOpen);
    static final ModelOpener CLIP_VISION = new ModelOpener(
            ModelKind.CLIP_VISION, Native.CLIP_VISION_SPEC, "smpo_clip_vision_open", Native::clipVisionOpen);
    static final ModelOpener BERT =
            new ModelOpener(ModelKind.BERT, Native.BERT_SPEC, "smpo_bert_open", Native::bertOpen);

    @FunctionalInterface
    interface Call {
        int open(long session, MemorySegment spec, MemorySegment options, MemorySegment model, MemorySegment error);
    }

    /// Opens a model without values.
    ///
    /// @param spec writes the architecture
    NativeModel open(Engine engine, Consumer<Struct> spec, ModelOptions options) {
        long session = engine.enter();
        // Opening may fill gigabytes; the cost of an arena for the call is negligible.
        try (Arena arena = Arena.ofConfined()) {
            Struct architecture = Struct.allocate(layout, arena);
            spec.accept(architecture);
            Errors.check(
                    call.open(
                            session,
                            architecture.segment(),
                            options(arena, options),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    function);
        }
        return new NativeModel(engine, engine.result().get(JAVA_LONG, 0), kind);
    }

    private static MemorySegment options(Arena arena, ModelOptions options) {
        Objects.requireNonNull(options, "options");
        Struct struct = Struct.allocate(Native.MODEL_OPTIONS, arena);
        struct.set("precision", DTypeCode.of(options.precision()));
        struct.set("trainable", options.trainable() ? 1 : 0);
        struct.set("checkpointing", options.checkpointing() ? 1 : 0);
        return struct.segment();
    }
}
