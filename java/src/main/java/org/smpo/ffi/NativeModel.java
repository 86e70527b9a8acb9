package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.nio.Buffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.function.Consumer;
import org.smpo.io.DType;

/// A network with its weights on an engine's device.
///
/// Opened without values: every parameter is to be written before it computes. Belongs to the engine's thread.
///
/// A call that needs another kind of model, or a parameter of another shape, throws as the library says; nothing has
/// changed then.
public final class NativeModel extends Handle {
    private final Engine engine;
    private final ModelKind kind;

    private NativeModel(Engine engine, long id, ModelKind kind) {
        super(
                engine.session(),
                id,
                "NativeModel " + kind.name().toLowerCase(Locale.ROOT) + " on "
                        + engine.config().device(),
                Native::modelClose);
        this.engine = engine;
        this.kind = kind;
    }

    /// A UNet whose weights are all still to be written.
    ///
    /// @throws InvalidArgumentException naming the field that makes no network
    /// @throws EngineOutOfMemoryException when it does not fit
    public static NativeModel openUNet(Engine engine, UNetSpec spec, ModelOptions options) {
        return open(engine, ModelKind.UNET, Native.UNET_SPEC, spec::write, options, Native::unetOpen, "smpo_unet_open");
    }

    /// An `AutoencoderKL`, likewise.
    public static NativeModel openVae(Engine engine, VaeSpec spec, ModelOptions options) {
        return open(engine, ModelKind.VAE, Native.VAE_SPEC, spec::write, options, Native::vaeOpen, "smpo_vae_open");
    }

    /// CLIP's text tower, likewise.
    public static NativeModel openClipText(Engine engine, ClipTextSpec spec, ModelOptions options) {
        return open(
                engine,
                ModelKind.CLIP_TEXT,
                Native.CLIP_TEXT_SPEC,
                spec::write,
                options,
                Native::clipTextOpen,
                "smpo_clip_text_open");
    }

    /// CLIP's vision tower, likewise.
    public static NativeModel openClipVision(Engine engine, ClipVisionSpec spec, ModelOptions options) {
        return open(
                engine,
                ModelKind.CLIP_VISION,
                Native.CLIP_VISION_SPEC,
                spec::write,
                options,
                Native::clipVisionOpen,
                "smpo_clip_vision_open");
    }

    @FunctionalInterface
    private interface Opener {
        int open(long session, MemorySegment spec, MemorySegment options, MemorySegment model, MemorySegment error);
    }

    private static NativeModel open(
            Engine engine,
            ModelKind kind,
            StructLayout layout,
            Consumer<Struct> spec,
            ModelOptions options,
            Opener opener,
            String function) {
        long session = engine.enter();
        // Opening may fill gigabytes: an arena for the call costs nothing beside it.
        try (Arena arena = Arena.ofConfined()) {
            Struct architecture = Struct.allocate(layout, arena);
            spec.accept(architecture);
            Errors.check(
                    opener.open(
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

    /// The engine that it belongs to.
    public Engine engine() {
        return engine;
    }

    /// Which network it is.
    public ModelKind kind() {
        return kind;
    }

    /// What it is and how much it holds, now.
    public ModelInfo info() {
        long id = id();
        long session = engine.enter();
        Struct info = engine.scratch(Native.MODEL_INFO);
        Errors.check(
                Native.modelDescribe(session, id, info.segment(), engine.error().segment()),
                engine.error(),
                "smpo_model_describe");
        return ModelInfo.read(info);
    }

    /// Every parameter: the model's own first, then those of its adapters.
    public List<ParameterInfo> parameters() {
        int count = info().parameterCount();
        long id = id();
        long session = engine.enter();
        List<ParameterInfo> parameters = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            Struct info = engine.scratch(Native.PARAMETER_INFO);
            Errors.check(
                    Native.modelParameter(
                            session, id, i, info.segment(), engine.error().segment()),
                    engine.error(),
                    "smpo_model_parameter");
            parameters.add(ParameterInfo.read(info));
        }
        return parameters;
    }

    /// Gives a parameter its values, rounded to nearest even where the model holds fewer bits.
    ///
    /// @param name as in [#parameters()]
    /// @param dtype of `data`: F32, BF16 or F16
    /// @param data row-major, little-endian, exactly as many bytes as the shape needs
    /// @throws InvalidArgumentException for an unknown name
    /// @throws ShapeMismatchException with both shapes
    /// @throws NonFiniteException with the index of the first value that is NaN or infinite
    public void write(String name, DType dtype, List<Long> shape, MemorySegment data) {
        Objects.requireNonNull(data, "data");
        long id = id();
        long session = engine.enter();
        MemorySegment cName = engine.name(name);
        MemorySegment spec = engine.spec(dtype, sizes(shape));
        try {
            MemorySegment source = Engine.readableInPlace(data)
                    ? data
                    : engine.staging().take(data.byteSize()).copyFrom(data);
            Errors.check(
                    Native.modelWriteParameter(
                            session,
                            id,
                            cName,
                            spec,
                            source,
                            source.byteSize(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_model_write_parameter");
        } finally {
            engine.staging().settle();
        }
    }

    /// Likewise from what lies between a buffer's position and its limit, which stay where they are.
    public void write(String name, DType dtype, List<Long> shape, Buffer data) {
        write(name, dtype, shape, MemorySegment.ofBuffer(data));
    }

    /// Copies a parameter to `data`, rounded to nearest even where that has fewer bits.
    ///
    /// @param dtype wanted: F32, BF16 or F16
    /// @param shape the parameter's own
    /// @param data writable, exactly as many bytes as the shape needs
    /// @throws InvalidArgumentException for an unknown name
    /// @throws ShapeMismatchException with both shapes
    public void read(String name, DType dtype, List<Long> shape, MemorySegment data) {
        copy(Native::modelReadParameter, "smpo_model_read_parameter", name, dtype, shape, data);
    }

    /// A parameter's values.
    ///
    /// @throws InvalidArgumentException for an unknown name, or when an array cannot hold them
    public float[] read(ParameterInfo parameter) {
        float[] values = floats(parameter);
        read(parameter.name(), DType.F32, parameter.shape(), MemorySegment.ofArray(values));
        return values;
    }

    /// Copies the sum of a parameter's gradients since they were last zero; otherwise as [#read].
    ///
    /// @throws InvalidArgumentException when it does not train
    public void readGradient(String name, DType dtype, List<Long> shape, MemorySegment data) {
        copy(Native::modelReadGradient, "smpo_model_read_gradient", name, dtype, shape, data);
    }

    /// The sum of a parameter's gradients since they were last zero.
    ///
    /// @throws InvalidArgumentException when it does not train
    public float[] readGradient(ParameterInfo parameter) {
        float[] values = floats(parameter);
        readGradient(parameter.name(), DType.F32, parameter.shape(), MemorySegment.ofArray(values));
        return values;
    }

    /// Makes every gradient zero.
    public void zeroGradients() {
        long id = id();
        Errors.check(
                Native.modelZeroGradients(engine.enter(), id, engine.error().segment()),
                engine.error(),
                "smpo_model_zero_gradients");
    }

    /// Puts low-rank adapters on layers of a model that is not trainable; they train, it stays frozen. Every A is to
    /// be written; every B is zero. A model has one set at a time.
    ///
    /// @throws InvalidArgumentException for a module that it does not have, or when it has adapters already
    public void addLora(LoraSpec lora) {
        Objects.requireNonNull(lora, "lora");
        long id = id();
        long session = engine.enter();
        try (Arena arena = Arena.ofConfined()) {
            List<String> modules = lora.modules();
            MemorySegment names = arena.allocate(ADDRESS, modules.size());
            for (int i = 0; i < modules.size(); i++) {
                names.setAtIndex(ADDRESS, i, arena.allocateFrom(modules.get(i)));
            }
            Struct spec = Struct.allocate(Native.LORA_SPEC, arena);
            spec.set("rank", lora.rank());
            spec.set("alpha", lora.alpha());
            spec.set("module_count", modules.size());
            spec.set("modules", names);
            Errors.check(
                    Native.modelAddLora(
                            session, id, spec.segment(), engine.error().segment()),
                    engine.error(),
                    "smpo_model_add_lora");
        }
    }

    /// Scales what the adapters add: 1 at first; at 0 the same handle computes the model underneath.
    public void setLoraScale(double scale) {
        long id = id();
        Errors.check(
                Native.modelSetLoraScale(
                        engine.enter(), id, scale, engine.error().segment()),
                engine.error(),
                "smpo_model_set_lora_scale");
    }

    /// Adds `weight * alpha / rank * B A` to the model's weights and removes the adapters.
    public void mergeLora(double weight) {
        long id = id();
        Errors.check(
                Native.modelMergeLora(engine.enter(), id, weight, engine.error().segment()),
                engine.error(),
                "smpo_model_merge_lora");
    }

    /// A UNet's prediction.
    ///
    /// @return `[B,out_channels,h,w]` F32, the caller's to close
    /// @throws ShapeMismatchException naming the input that does not fit
    /// @throws InvalidArgumentException when a parameter was never written
    /// @throws InvalidHandleException when this is no UNet
    public DeviceTensor forward(UNetInputs inputs) {
        long id = id();
        long session = engine.enter();
        Errors.check(
                Native.unetForward(
                        session,
                        id,
                        engine.inputs(inputs),
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_unet_forward");
        return engine.adopt(0);
    }

    /// A UNet's prediction, then the gradients of the sum of `output * cotangent`, which are added to those of the
    /// parameters that train.
    ///
    /// @param cotangent of the output's shape
    /// @param wantSampleGradient whether the sample's own gradient is wanted
    /// @return the caller's to close
    public UNetGradients backward(UNetInputs inputs, DeviceTensor cotangent, boolean wantSampleGradient) {
        long id = id();
        long session = engine.enter();
        MemorySegment output = engine.result();
        MemorySegment sampleGradient = wantSampleGradient ? output.asSlice(Long.BYTES) : MemorySegment.NULL;
        Errors.check(
                Native.unetBackward(
                        session,
                        id,
                        engine.inputs(inputs),
                        engine.own(cotangent),
                        output,
                        sampleGradient,
                        engine.error().segment()),
                engine.error(),
                "smpo_unet_backward");
        return new UNetGradients(engine.adopt(0), wantSampleGradient ? engine.adopt(1) : null);
    }

    /// A VAE's posterior of pictures.
    ///
    /// @param pixels `[B,in_channels,H,W]` in [-1, 1]
    /// @param tile 0: the picture at once; else pixels along each side of a tile, a multiple of 4 times the pixels
    ///     that a latent stands for. Tiles overlap by a quarter and fade into one another
    /// @return the caller's to close
    public Posterior encode(DeviceTensor pixels, int tile) {
        long id = id();
        long session = engine.enter();
        MemorySegment mean = engine.result();
        Errors.check(
                Native.vaeEncode(
                        session,
                        id,
                        engine.own(pixels),
                        tile,
                        mean,
                        mean.asSlice(Long.BYTES),
                        engine.error().segment()),
                engine.error(),
                "smpo_vae_encode");
        return new Posterior(engine.adopt(0), engine.adopt(1));
    }

    /// A VAE's pictures of latents.
    ///
    /// @param latents `[B,latent_channels,h,w]`, not scaled
    /// @param tile in pixels, as in [#encode]
    /// @return `[B,out_channels,H,W]` F32, the caller's to close
    public DeviceTensor decode(DeviceTensor latents, int tile) {
        long id = id();
        long session = engine.enter();
        Errors.check(
                Native.vaeDecode(
                        session,
                        id,
                        engine.own(latents),
                        tile,
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_vae_decode");
        return engine.adopt(0);
    }

    /// What CLIP's text tower says about tokens.
    ///
    /// @param ids `[B,S]` I32 or I64
    /// @param skip layers that are left out at the end
    /// @param finalNorm whether the hidden states pass through the final norm
    /// @param wantPooled whether the pooled output is wanted, which is of the last layer whatever `skip`
    /// @return the caller's to close
    public EncodedText encodeText(DeviceTensor ids, int skip, boolean finalNorm, boolean wantPooled) {
        long id = id();
        long session = engine.enter();
        MemorySegment hidden = engine.result();
        Errors.check(
                Native.clipTextEncode(
                        session,
                        id,
                        engine.own(ids),
                        skip,
                        finalNorm ? 1 : 0,
                        hidden,
                        wantPooled ? hidden.asSlice(Long.BYTES) : MemorySegment.NULL,
                        engine.error().segment()),
                engine.error(),
                "smpo_clip_text_encode");
        return new EncodedText(engine.adopt(0), wantPooled ? engine.adopt(1) : null);
    }

    /// What CLIP's vision tower says about pictures.
    ///
    /// @param pixelValues `[B,channels,image_size,image_size]`
    /// @return `[B,projection_dim]`, without projection `[B,hidden_size]`, F32, not normalized;
    ///     the caller's to close
    public DeviceTensor encodeImage(DeviceTensor pixelValues) {
        long id = id();
        long session = engine.enter();
        Errors.check(
                Native.clipVisionEncode(
                        session,
                        id,
                        engine.own(pixelValues),
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_clip_vision_encode");
        return engine.adopt(0);
    }

    @Override
    void release(long id) {
        engine.close(Native::modelClose, id, "smpo_model_close");
    }

    @FunctionalInterface
    private interface Reader {
        int read(
                long session,
                long model,
                MemorySegment name,
                MemorySegment spec,
                MemorySegment data,
                long bytes,
                MemorySegment error);
    }

    private void copy(Reader reader, String function, String name, DType dtype, List<Long> shape, MemorySegment data) {
        Objects.requireNonNull(data, "data");
        if (data.isReadOnly()) {
            throw new InvalidArgumentException(
                    function + ": data: expected writable memory, got a read-only segment", 0);
        }
        long id = id();
        long session = engine.enter();
        MemorySegment cName = engine.name(name);
        MemorySegment spec = engine.spec(dtype, sizes(shape));
        boolean inPlace = Engine.readableInPlace(data);
        try {
            MemorySegment target = inPlace ? data : engine.staging().take(data.byteSize());
            Errors.check(
                    reader.read(
                            session,
                            id,
                            cName,
                            spec,
                            target,
                            target.byteSize(),
                            engine.error().segment()),
                    engine.error(),
                    function);
            if (!inPlace) {
                data.copyFrom(target);
            }
        } finally {
            engine.staging().settle();
        }
    }

    private static float[] floats(ParameterInfo parameter) {
        long elements = parameter.elements();
        if (elements > Integer.MAX_VALUE - 8) {
            throw new InvalidArgumentException(parameter.name() + ": has more elements than a Java array can hold", 0);
        }
        return new float[(int) elements];
    }

    private static long[] sizes(List<Long> shape) {
        return shape.stream().mapToLong(Long::longValue).toArray();
    }
}
