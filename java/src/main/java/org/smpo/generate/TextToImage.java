package org.smpo.generate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.Lora;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Device;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.NativeSampler;
import org.smpo.ffi.SamplerInputs;
import org.smpo.io.Closer;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.network.PromptEncoder;
import org.smpo.network.SizeConditioning;
import org.smpo.network.UNet;
import org.smpo.network.Vae;
import org.smpo.random.Purpose;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.SamplerPlan;

/// Generates images from prompts with Stable Diffusion 1.x, 2.x or SDXL: text encoders, UNet, sampler, VAE.
///
/// ```
/// try (TextToImage model = TextToImage.open(Path.of("stable-diffusion-v1-5"), "cpu", Precision.FP32, 0)) {
///     RgbImage image = model.generate(ImageRequest.of("a lighthouse", 1,
/// GenerationConfig.standard())).getFirst().image();
/// }
/// ```
///
/// The same initial latents give the image that diffusers' pipeline gives. Sampled latents are a
/// function of the engine's seed (0 unless the caller opens the engine) and the image's own seed: the
/// other images of a batch change only the rounding of sums. Text encoders and VAE compute in fp32.
/// Belongs to the thread that opened it.
public final class TextToImage implements AutoCloseable {
    private static final String ZEROS = "force_zeros_for_empty_prompt";

    private final Engine engine;
    private final Family family;
    private final NoiseSchedule schedule;
    private final Map<String, Object> samplerConfig;
    private final boolean zerosForNoNegative;
    private final Closer owned;
    private PromptEncoder promptEncoder;
    private UNet unet;
    private Vae vae;
    private SamplerInputs.NegativeNetwork negativeNetwork = new SamplerInputs.NegativeNetwork.Same();
    private NegativeCondition negativeCondition = NegativeCondition.EMPTY;

    /// Receives the progress after each step.
    @FunctionalInterface
    public interface Progress {
        void step(int done, int all);
    }

    private TextToImage(ModelFiles files, Engine engine, Closer owned) throws IOException {
        this.engine = engine;
        this.owned = owned;
        this.family = files.family()
                .filter(known -> known != Family.SDXL_REFINER)
                .orElseThrow(() -> new ModelException(
                        files.path(),
                        "model",
                        "a whole Stable Diffusion 1.x, 2.x or SDXL base model",
                        files.family().map(Family::title).orElse(files.pipelineClass())));
        this.schedule = files.schedule();
        this.samplerConfig = files.samplerConfig();
        this.zerosForNoNegative = family == Family.SDXL && zerosForEmptyPrompt(files);
    }

    /// Whether an SDXL model has zeros in place of the embedding of a negative prompt that is not given.
    public static boolean zerosForEmptyPrompt(ModelFiles files) throws IOException {
        JsonObject index = files.index().orElseThrow();
        return !index.has(ZEROS) || index.bool(ZEROS);
    }

    /// Opens a model on an engine of its own, which closes with it.
    ///
    /// @param path a diffusers folder; a single file has no tokenizers: open its [ModelFiles] with a folder that
    ///     has them
    /// @param device `cpu`, `cuda` or `cuda:N`
    /// @param precision Precision of the UNet
    /// @param threads Number of CPU threads; 0: one per physical core
    /// @throws ModelException when the model is not one that we support
    /// @throws IllegalArgumentException for an unknown device
    /// @throws IOException when a file cannot be read
    public static TextToImage open(Path path, String device, Precision precision, int threads) throws IOException {
        try (ModelFiles files = ModelFiles.open(path)) {
            return open(files, device, precision, threads);
        }
    }

    /// Opens a model on an engine of its own, which closes with it. The files may be closed afterwards.
    ///
    /// @see #open(Path, String, Precision, int)
    public static TextToImage open(ModelFiles files, String device, Precision precision, int threads)
            throws IOException {
        EngineConfig config =
                EngineConfig.onCpu().withDevice(Device.parse(device)).withThreads(threads);
        Closer owned = new Closer();
        try {
            Engine engine = owned.add(Engine.open(config));
            return new TextToImage(files, engine, owned).load(files, precision);
        } catch (IOException | RuntimeException e) {
            owned.closeAfter(e);
            throw e;
        }
    }

    /// Opens a model on an engine that the caller keeps and closes. The files may be closed afterwards.
    ///
    /// @param precision Precision of the UNet
    public static TextToImage open(ModelFiles files, Engine engine, Precision precision) throws IOException {
        Closer owned = new Closer();
        try {
            return new TextToImage(files, engine, owned).load(files, precision);
        } catch (IOException | RuntimeException e) {
            owned.closeAfter(e);
            throw e;
        }
    }

    private TextToImage load(ModelFiles files, Precision precision) throws IOException {
        promptEncoder = owned.add(PromptEncoder.load(engine, files));
        unet = owned.add(UNet.load(engine, files.component("unet"), ModelOptions.frozen(precision.dtype())));
        vae = owned.add(Vae.load(engine, files.component("vae")));
        requireFits();
        return this;
    }

    /// Opens a model whose networks are already loaded, such as those of a training run. The caller
    /// keeps and closes them, and the engine.
    public static TextToImage open(ModelFiles files, Engine engine, UNet unet, PromptEncoder prompts, Vae vae)
            throws IOException {
        TextToImage opened = new TextToImage(files, engine, new Closer());
        opened.promptEncoder = prompts;
        opened.unet = unet;
        opened.vae = vae;
        opened.requireFits();
        return opened;
    }

    private void requireFits() throws ModelException {
        if (family == Family.SDXL) {
            SizeConditioning.requireFits(
                    SizeConditioning.of(1, 1).timeIds().length,
                    unet.config().additionTimeEmbedDim(),
                    promptEncoder.pooledWidth(),
                    unet.config().projectionClassEmbeddingsInputDim());
        }
    }

    /// The model's family.
    public Family family() {
        return family;
    }

    /// Number of pixels along each side of one latent; sides of images are multiples of it.
    public int downscale() {
        return vae.downscale();
    }

    /// Side of the images that the model was trained on, in pixels; 0 when its files do not name it.
    public int trainedSide() {
        return unet.config().sampleSize() * downscale();
    }

    /// Merges adapters into the weights permanently. A negative network of its own is not changed.
    ///
    /// @param weight Factor of the adapters
    /// @throws ModelException when a module is not in the model or does not fit
    public void merge(Lora lora, double weight) throws IOException {
        LoraMerge.merge(lora, weight, this::network);
    }

    /// Loads another UNet as the negative network, which closes with this object. It takes the model's
    /// own place on the negative side of guidance from then on. The files may be closed afterwards.
    ///
    /// @param model Files of this model
    /// @param negative Files of a model, of which only the UNet is used, or of a UNet alone
    /// @param precision Precision of the negative network
    /// @param condition Text that conditions it
    /// @throws ModelException when it does not fit the model, naming what differs
    public void loadNegative(ModelFiles model, ModelFiles negative, Precision precision, NegativeCondition condition)
            throws IOException {
        useNegative(
                owned.add(UNet.load(
                        engine, NegativeNetwork.unet(model, negative), ModelOptions.frozen(precision.dtype()))),
                condition);
    }

    /// Takes a loaded UNet as the negative network, such as one in training. The caller keeps and closes it.
    public void useNegative(UNet network, NegativeCondition condition) {
        negativeNetwork = new SamplerInputs.NegativeNetwork.Other(network.network());
        negativeCondition = condition;
    }

    /// Takes the model with its adapters as the negative network, and the model without them for the prompt.
    public void useNegativeAdapters(NegativeCondition condition) {
        negativeNetwork = new SamplerInputs.NegativeNetwork.Adapters();
        negativeCondition = condition;
    }

    /// Merges adapters into the weights of the negative network permanently.
    ///
    /// @param weight Factor of the adapters
    /// @throws ModelException when a module is not in its UNet or does not fit
    /// @throws IllegalStateException unless a UNet has been loaded or taken as the negative network
    public void mergeNegative(Lora lora, double weight) throws IOException {
        NegativeNetwork.requireUNetOnly(lora);
        if (!(negativeNetwork instanceof SamplerInputs.NegativeNetwork.Other(NativeModel unet))) {
            throw new IllegalStateException("negative LoRA: expected a negative network to merge into, found none");
        }
        LoraMerge.merge(lora, weight, component -> unet);
    }

    private NativeModel network(String component) throws ModelException {
        if (component.equals("unet")) {
            return unet.network();
        }
        return promptEncoder
                .network(component)
                .orElseThrow(() -> new ModelException("LoRA: " + component + ": expected a component of a "
                        + family.title() + " model, which has unet and " + family.textEncoders()));
    }

    /// The part of a prompt that is cut off because it is too long, by text encoder; empty when all of it fits.
    public Map<String, String> cut(String prompt) {
        return promptEncoder.cut(prompt);
    }

    /// Generates the images of a request.
    public List<GeneratedImage> generate(ImageRequest request) {
        return generate(request, (done, all) -> {});
    }

    /// Generates the images of a request, in its order.
    ///
    /// @throws IllegalArgumentException when sizes, steps, latents or prompts are not what this model
    ///     takes, or when a negative network has no guidance
    /// @throws org.smpo.ffi.CancelledException after [#cancel()]
    public List<GeneratedImage> generate(ImageRequest request, Progress progress) {
        GenerationConfig config = sized(request.config());
        int height = config.height() / downscale();
        int width = config.width() / downscale();
        SamplerPlan plan = SamplerPlan.of(schedule, config.samplerOf(samplerConfig), config.steps());
        boolean guided = config.guidanceScale() > 1;
        requireUsed(request.prompts(), config);
        List<Long> items = request.prompts().stream()
                .map(prompt -> prompt.seed().orElse(0))
                .toList();
        try (DeviceTensor noise = noise(request.initialLatents(), items, height, width);
                SamplerInputs.Condition condition =
                        condition(request.prompts(), config, Prompt::text, config.clipSkip(), false);
                SamplerInputs.Condition negative = guided ? negativeCondition(request.prompts(), config) : null;
                NativeSampler sampler = NativeSampler.open(
                        unet.network(),
                        plan,
                        new SamplerInputs(
                                noise,
                                condition,
                                negative,
                                guided ? config.guidanceScale() : 1,
                                guided ? config.guidanceRescale() : 0,
                                items,
                                negativeNetwork))) {
            for (int step = 1; step <= sampler.steps(); step++) {
                sampler.step(1);
                progress.step(step, sampler.steps());
            }
            try (DeviceTensor latents = sampler.latents()) {
                return decode(latents.toFloats(), items.size(), config);
            }
        }
    }

    /// Refuses settings under which the negative network or a negative prompt would have no effect.
    private void requireUsed(List<Prompt> prompts, GenerationConfig config) {
        if (negativeNetwork instanceof SamplerInputs.NegativeNetwork.Same()) {
            return;
        }
        config.requireGuidance();
        negativeCondition.requireFits(prompts);
    }

    private SamplerInputs.Condition negativeCondition(List<Prompt> prompts, GenerationConfig config) {
        return switch (negativeCondition) {
            case EMPTY -> condition(prompts, config, Prompt::negative, 0, zerosForNoNegative);
            case PROMPT -> condition(prompts, config, Prompt::text, config.clipSkip(), false);
        };
    }

    /// Stops [#generate] at its next step. From any thread.
    public void cancel() {
        engine.cancel();
    }

    private GenerationConfig sized(GenerationConfig config) {
        GenerationConfig sized = config.withSize(
                config.width() == 0 ? trainedSide() : config.width(),
                config.height() == 0 ? trainedSide() : config.height());
        sized.requireFits(downscale());
        return sized;
    }

    private DeviceTensor noise(List<float[]> initialLatents, List<Long> items, int height, int width) {
        int channels = unet.config().inChannels();
        int batch = items.size();
        int row = channels * height * width;
        if (initialLatents.isEmpty()) {
            DeviceTensor sampled = engine.zeros(Precision.FP32.dtype(), batch, channels, height, width);
            sampled.fillNormal(
                    Purpose.INITIAL_LATENTS.code(),
                    0,
                    items.stream().mapToLong(Long::longValue).toArray());
            return sampled;
        }
        float[] all = new float[batch * row];
        for (int i = 0; i < batch; i++) {
            float[] given = initialLatents.get(i);
            if (given.length != row) {
                throw new IllegalArgumentException("initial latents: expected " + channels + "x" + height + "x" + width
                        + " numbers for an image of " + width * downscale() + "x" + height * downscale() + ", got "
                        + given.length);
            }
            System.arraycopy(given, 0, all, i * row, row);
        }
        return engine.fromHost(all, batch, channels, height, width);
    }

    /// @param skip Number of further final text encoder layers to skip, which diffusers does for the prompt only
    /// @param zeros Whether the condition of a prompt that is not given is zero instead of that of the
    ///     empty prompt
    private SamplerInputs.Condition condition(
            List<Prompt> all, GenerationConfig config, Function<Prompt, String> text, int skip, boolean zeros) {
        List<Boolean> given =
                all.stream().map(prompt -> text.apply(prompt) != null).toList();
        List<String> prompts =
                all.stream().map(text).map(words -> words == null ? "" : words).toList();
        int batch = prompts.size();
        List<PromptEncoder.Embedding> embeddings = prompts.stream()
                .map(prompt -> promptEncoder.encode(prompt, skip))
                .toList();
        int tokens = embeddings.getFirst().tokens();
        float[] joined = stacked(embeddings, PromptEncoder.Embedding::hidden);
        int width = joined.length / batch / tokens;
        if (family != Family.SDXL) {
            return new SamplerInputs.Condition(engine.fromHost(joined, batch, tokens, width), null, null);
        }
        float[] pooled = stacked(embeddings, PromptEncoder.Embedding::pooled);
        float[] ids = SizeConditioning.of(config.height(), config.width()).timeIds();
        float[] timeIds = new float[batch * ids.length];
        for (int i = 0; i < batch; i++) {
            System.arraycopy(ids, 0, timeIds, i * ids.length, ids.length);
            if (zeros && !given.get(i)) {
                Arrays.fill(joined, i * tokens * width, (i + 1) * tokens * width, 0);
                Arrays.fill(pooled, i * pooled.length / batch, (i + 1) * pooled.length / batch, 0);
            }
        }
        return new SamplerInputs.Condition(
                engine.fromHost(joined, batch, tokens, width),
                engine.fromHost(pooled, batch, pooled.length / batch),
                engine.fromHost(timeIds, batch, ids.length));
    }

    private static float[] stacked(
            List<PromptEncoder.Embedding> embeddings, Function<PromptEncoder.Embedding, float[]> part) {
        int size = part.apply(embeddings.getFirst()).length;
        float[] all = new float[embeddings.size() * size];
        for (int i = 0; i < embeddings.size(); i++) {
            System.arraycopy(part.apply(embeddings.get(i)), 0, all, i * size, size);
        }
        return all;
    }

    /// Decodes one image at a time: the VAE needs more memory than everything else.
    private List<GeneratedImage> decode(float[] latents, int batch, GenerationConfig config) {
        int height = config.height() / downscale();
        int width = config.width() / downscale();
        int row = latents.length / batch;
        List<GeneratedImage> images = new ArrayList<>(batch);
        for (int i = 0; i < batch; i++) {
            float[] own = Arrays.copyOfRange(latents, i * row, (i + 1) * row);
            float[] scaled = new float[row];
            for (int j = 0; j < row; j++) {
                scaled[j] = own[j] / (float) vae.config().scalingFactor();
            }
            try (DeviceTensor unscaled = engine.fromHost(scaled, 1, vae.config().latentChannels(), height, width);
                    DeviceTensor pixels = vae.decode(unscaled, config.vaeTile())) {
                images.add(new GeneratedImage(
                        RgbImage.ofDecoded(pixels.toFloats(), config.height(), config.width()), own));
            }
        }
        return images;
    }

    @Override
    public void close() {
        owned.closeUnchecked();
    }
}
