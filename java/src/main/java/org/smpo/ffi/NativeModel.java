package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.Buffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import org.smpo.io.DType;

/// A network with its weights on an engine's device.
///
/// A new model has no values: write every parameter before it computes. Belongs to the engine's thread.
///
/// A call that needs another kind of model, or a parameter of another shape, throws the exception for
/// the library's status and changes nothing.
public final class NativeModel extends Handle {
    private final Engine engine;
    private final ModelKind kind;

    NativeModel(Engine engine, long id, ModelKind kind) {
        super(
                engine.session(),
                id,
                "NativeModel " + kind.name().toLowerCase(Locale.ROOT) + " on "
                        + engine.config().device(),
                Native::modelClose);
        this.engine = engine;
        this.kind = kind;
    }

    /// Opens a UNet. All of its weights must then be written.
    ///
    /// @throws InvalidArgumentException naming the field that does not describe a network
    /// @throws EngineOutOfMemoryException when the model does not fit
    public static NativeModel openUNet(Engine engine, UNetSpec spec, ModelOptions options) {
        return ModelOpener.UNET.open(engine, spec::write, options);
    }

    /// Opens an `AutoencoderKL`; otherwise as [#openUNet].
    public static NativeModel openVae(Engine engine, VaeSpec spec, ModelOptions options) {
        return ModelOpener.VAE.open(engine, spec::write, options);
    }

    /// Opens CLIP's text tower; otherwise as [#openUNet].
    public static NativeModel openClipText(Engine engine, ClipTextSpec spec, ModelOptions options) {
        return ModelOpener.CLIP_TEXT.open(engine, spec::write, options);
    }

    /// Opens CLIP's vision tower; otherwise as [#openUNet].
    public static NativeModel openClipVision(Engine engine, ClipVisionSpec spec, ModelOptions options) {
        return ModelOpener.CLIP_VISION.open(engine, spec::write, options);
    }

    /// Opens BERT with cross-attention; otherwise as [#openUNet].
    public static NativeModel openBert(Engine engine, BertSpec spec, ModelOptions options) {
        return ModelOpener.BERT.open(engine, spec::write, options);
    }

    /// The engine that the model belongs to.
    public Engine engine() {
        return engine;
    }

    /// The kind of network.
    public ModelKind kind() {
        return kind;
    }

    /// The model's current kind, size and number of parameters.
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

    /// All parameters: the model's own first, then those of its adapters.
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

    /// Writes a parameter's values, rounded to nearest even where the model's dtype has fewer bits.
    ///
    /// @param name Name as in [#parameters()]
    /// @param dtype Dtype of `data`: F32, BF16 or F16
    /// @param data Values, row-major, little-endian, exactly as many bytes as the shape needs
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

    /// Writes a parameter's values from a buffer's position to its limit, neither of which changes.
    public void write(String name, DType dtype, List<Long> shape, Buffer data) {
        write(name, dtype, shape, Engine.segmentOf(data));
    }

    /// Copies a parameter to `data`, rounded to nearest even where `dtype` has fewer bits.
    ///
    /// @param dtype Dtype of the copy: F32, BF16 or F16
    /// @param shape The parameter's own shape
    /// @param data Writable memory, exactly as many bytes as the shape needs
    /// @throws InvalidArgumentException for an unknown name
    /// @throws ShapeMismatchException with both shapes
    public void read(String name, DType dtype, List<Long> shape, MemorySegment data) {
        copy(Native::modelReadParameter, "smpo_model_read_parameter", name, dtype, shape, data);
    }

    /// Returns a parameter's values.
    ///
    /// @throws InvalidArgumentException for an unknown name, or when an array cannot hold the values
    public float[] read(ParameterInfo parameter) {
        float[] values = floats(parameter);
        read(parameter.name(), DType.F32, parameter.shape(), MemorySegment.ofArray(values));
        return values;
    }

    /// Copies the sum of a parameter's gradients since they were last zero; otherwise as [#read].
    ///
    /// @throws InvalidArgumentException when the parameter is not trainable
    public void readGradient(String name, DType dtype, List<Long> shape, MemorySegment data) {
        copy(Native::modelReadGradient, "smpo_model_read_gradient", name, dtype, shape, data);
    }

    /// Returns the sum of a parameter's gradients since they were last zero.
    ///
    /// @throws InvalidArgumentException when the parameter is not trainable
    public float[] readGradient(ParameterInfo parameter) {
        float[] values = floats(parameter);
        readGradient(parameter.name(), DType.F32, parameter.shape(), MemorySegment.ofArray(values));
        return values;
    }

    /// Sets every gradient to zero.
    public void zeroGradients() {
        long id = id();
        Errors.check(
                Native.modelZeroGradients(engine.enter(), id, engine.error().segment()),
                engine.error(),
                "smpo_model_zero_gradients");
    }

    /// Adds low-rank adapters to layers of a model that is not trainable. The adapters train; the model
    /// stays frozen. Every B starts at zero; every A must then be written. A model has one set of
    /// adapters at a time.
    ///
    /// @throws InvalidArgumentException for a module that the model lacks, or when it already has
    ///     adapters
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

    /// Sets the factor of the adapters' output, initially 1. At 0 the same handle computes the base
    /// model.
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

    /// Returns a UNet's prediction.
    ///
    /// @return `[B,out_channels,h,w]` F32; the caller closes it
    /// @throws ShapeMismatchException naming the input that does not fit
    /// @throws InvalidArgumentException when a parameter was never written
    /// @throws InvalidHandleException when this model is not a UNet
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

    /// Returns a UNet's prediction and adds the gradients of the sum of `output * cotangent` to those of
    /// the trainable parameters.
    ///
    /// @param cotangent Gradient of the output, of the output's shape
    /// @param wantSampleGradient Whether to compute the sample's gradient too
    /// @return the prediction and the sample's gradient; the caller closes them
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

    /// Returns a VAE's posterior over the latents of images.
    ///
    /// @param pixels Images `[B,in_channels,H,W]` in [-1, 1]
    /// @param tile Side of a tile in pixels, a multiple of 4 times the pixels per latent along one side;
    ///     0 encodes the whole image at once. Tiles overlap by a quarter and are blended
    /// @return the posterior; the caller closes it
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

    /// Returns the images that a VAE decodes from latents.
    ///
    /// @param latents Latents `[B,latent_channels,h,w]`, not scaled
    /// @param tile Side of a tile in pixels, as in [#encode]
    /// @return `[B,out_channels,H,W]` F32; the caller closes it
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

    /// Returns the hidden states that CLIP's text tower computes from tokens and, on request, the pooled
    /// output.
    ///
    /// @param ids Token ids `[B,S]`, I32 or I64
    /// @param skip Number of layers to leave out at the end
    /// @param finalNorm Whether the hidden states pass through the final norm
    /// @param wantPooled Whether to return the pooled output, which comes from the last layer whatever
    ///     `skip` is
    /// @return the encoded text; the caller closes it
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

    /// Returns the embeddings that CLIP's vision tower computes from images.
    ///
    /// @param pixelValues Images `[B,channels,image_size,image_size]`
    /// @return `[B,projection_dim]`, or `[B,hidden_size]` without projection, or `[B,tokens,hidden_size]`
    ///     with all tokens, F32, not normalized; the caller closes it
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

    /// Returns the state of each text's first token, which BERT computes from tokens and the states of an
    /// image.
    ///
    /// @param ids Token ids `[B,S]` without padding, I32 or I64
    /// @param encoderStates States `[B,T,encoder_width]`
    /// @return `[B,hidden_size]` F32; the caller closes it
    public DeviceTensor encodeTokens(DeviceTensor ids, DeviceTensor encoderStates) {
        long id = id();
        long session = engine.enter();
        Errors.check(
                Native.bertEncode(
                        session,
                        id,
                        engine.own(ids),
                        engine.own(encoderStates),
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_bert_encode");
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
