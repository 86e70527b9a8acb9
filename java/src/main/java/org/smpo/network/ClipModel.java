package org.smpo.network;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.Activation;
import org.smpo.checkpoint.ClipModelConfig;
import org.smpo.checkpoint.ClipTextConfig;
import org.smpo.checkpoint.ClipVisionConfig;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelConfig;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelFolder;
import org.smpo.checkpoint.Weight;
import org.smpo.ffi.ClipActivation;
import org.smpo.ffi.ClipVisionSpec;
import org.smpo.ffi.Device;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.EncodedText;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.io.Closer;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;

/// A CLIP model in the layout of transformers' `CLIPModel`: it embeds texts and images as unit vectors of one space,
/// whose inner products are cosines. OpenAI's models, OpenCLIP's conversions and PickScore are such models.
///
/// Embeddings are computed on the device and normalized here in double. Belongs to the thread that opened it.
public final class ClipModel implements AutoCloseable {
    private static final String COMPONENT = "clip";

    /// Files that decide the token ids of a text.
    private static final List<String> TOKENIZER_FILES =
            List.of("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json");

    private final Engine engine;
    private final Closer owned;
    private final ClipModelConfig config;
    private final ClipImageProcessor images;
    private final ClipTokenizer tokenizer;
    private final TextEncoder text;
    private final NativeModel vision;
    private final double logitScale;
    private final String digest;

    private ClipModel(
            Engine engine,
            Closer owned,
            ClipModelConfig config,
            ClipImageProcessor images,
            ClipTokenizer tokenizer,
            TextEncoder text,
            NativeModel vision,
            double logitScale,
            String digest) {
        this.engine = engine;
        this.owned = owned;
        this.config = config;
        this.images = images;
        this.tokenizer = tokenizer;
        this.text = text;
        this.vision = vision;
        this.logitScale = logitScale;
        this.digest = digest;
    }

    /// Opens a model on an engine of its own, which closes with it.
    ///
    /// @param folder Folder with `config.json` and the weights, `model.safetensors` or shards of it
    /// @param processor Folder with `preprocessor_config.json` and the tokenizer's files; often `folder` itself
    /// @param device `cpu`, `cuda` or `cuda:N`
    /// @param precision Precision of both towers
    /// @param threads Number of CPU threads; 0: one per physical core
    /// @throws ModelException when the model is no CLIP model, or not one that we support
    /// @throws IllegalArgumentException for an unknown device
    /// @throws IOException when a file is missing or cannot be read
    public static ClipModel open(Path folder, Path processor, String device, Precision precision, int threads)
            throws IOException {
        EngineConfig config =
                EngineConfig.onCpu().withDevice(Device.parse(device)).withThreads(threads);
        Closer owned = new Closer();
        try {
            return open(owned.add(Engine.open(config)), owned, folder, processor, precision);
        } catch (IOException | RuntimeException e) {
            owned.closeAfter(e);
            throw e;
        }
    }

    /// Opens a model on an engine that the caller keeps and closes.
    public static ClipModel open(Engine engine, Path folder, Path processor, Precision precision) throws IOException {
        Closer owned = new Closer();
        try {
            return open(engine, owned, folder, processor, precision);
        } catch (IOException | RuntimeException e) {
            owned.closeAfter(e);
            throw e;
        }
    }

    private static ClipModel open(Engine engine, Closer owned, Path folder, Path processor, Precision precision)
            throws IOException {
        try (ModelFiles files = ModelFolder.open(folder)) {
            Component whole = files.components().values().iterator().next();
            ClipModelConfig config = NativeWeights.config(whole, ClipModelConfig.class);
            ClipImageProcessor images = ClipImageProcessor.open(processor);
            requireFits(config.vision(), images, processor);
            double logitScale = whole.weights().get(ClipModelConfig.LOGIT_SCALE).toDoubles()[0];
            String digest = digest(whole, processor);
            ClipTokenizer tokenizer = owned.add(ClipTokenizer.open(processor));
            requireFits(config.text(), tokenizer, processor);
            ModelOptions options = ModelOptions.frozen(precision.dtype());
            TextEncoder text = owned.add(TextEncoder.load(engine, part(whole, config.text()), options));
            NativeModel vision = owned.add(NativeWeights.fill(
                    NativeModel.openClipVision(engine, spec(config.vision()), options), part(whole, config.vision())));
            return new ClipModel(engine, owned, config, images, tokenizer, text, vision, logitScale, digest);
        }
    }

    private static void requireFits(ClipVisionConfig vision, ClipImageProcessor images, Path processor)
            throws ModelException {
        if (vision.channels() != 3) {
            throw new ModelException(
                    vision.json().source(), "vision_config.num_channels", "3 (red, green, blue)", vision.channels());
        }
        if (images.height() != vision.imageSize() || images.width() != vision.imageSize()) {
            throw new ModelException(
                    processor,
                    "preprocessor_config.json",
                    "images of " + vision.imageSize() + "x" + vision.imageSize() + ", as the model takes them",
                    images.describe());
        }
    }

    private static void requireFits(ClipTextConfig text, ClipTokenizer tokenizer, Path processor)
            throws ModelException {
        if (tokenizer.length() > text.maxPositionEmbeddings()) {
            throw new ModelException(
                    processor,
                    "tokenizer_config.json: model_max_length",
                    "at most the model's " + text.maxPositionEmbeddings() + " positions",
                    tokenizer.length());
        }
        int largest = Math.max(tokenizer.endId(), Math.max(tokenizer.startId(), tokenizer.padId()));
        if (largest >= text.vocabSize()) {
            throw new ModelException(
                    processor, "tokenizer", "ids below the model's vocab_size " + text.vocabSize(), "id " + largest);
        }
    }

    /// One tower of the whole model.
    private static Component part(Component whole, ModelConfig tower) {
        Map<String, Weight> weights = new LinkedHashMap<>();
        tower.parameters()
                .keySet()
                .forEach(name -> weights.put(name, whole.weights().get(name)));
        return new Component(COMPONENT, whole.library(), whole.className(), tower, weights, whole.files());
    }

    private static ClipVisionSpec spec(ClipVisionConfig config) {
        return new ClipVisionSpec(
                config.imageSize(),
                config.patchSize(),
                config.channels(),
                config.hiddenSize(),
                config.intermediateSize(),
                config.attentionHeads(),
                config.layers(),
                config.activation() == Activation.GELU ? ClipActivation.GELU : ClipActivation.QUICK_GELU,
                config.projectionDim(),
                config.layerNormEps());
    }

    /// Returns the digest of the model that [#open] returns, without loading it.
    ///
    /// @param folder folder of the model
    /// @param processor folder with the tokenizer's files
    /// @throws IOException when a file is missing or cannot be read
    public static String digest(Path folder, Path processor) throws IOException {
        try (ModelFiles files = ModelFolder.open(folder)) {
            return digest(files.components().values().iterator().next(), processor);
        }
    }

    private static String digest(Component whole, Path processor) throws IOException {
        StringBuilder parts =
                new StringBuilder("weights ").append(whole.sha256()).append('\n');
        parts.append("config ").append(Json.canonical(whole.config().json().asMap()));
        for (String name : TOKENIZER_FILES) {
            Path file = processor.resolve(name);
            if (Files.exists(file)) {
                parts.append(name).append(' ').append(Digest.sha256(file)).append('\n');
            }
        }
        return new Digest()
                .update(ByteBuffer.wrap(parts.toString().getBytes(StandardCharsets.UTF_8)))
                .hex();
    }

    /// The architecture.
    public ClipModelConfig config() {
        return config;
    }

    /// The preprocessing of images.
    public ClipImageProcessor imageProcessor() {
        return images;
    }

    /// The tokenizer of texts.
    public ClipTokenizer tokenizer() {
        return tokenizer;
    }

    /// The model's logarithmic temperature: transformers' logits are cosines times its exponential.
    public double logitScale() {
        return logitScale;
    }

    /// SHA-256 of everything that decides the embeddings except the preprocessing of images: weights (independent of
    /// how they are divided among files), config, tokenizer.
    public String digest() {
        return digest;
    }

    /// Embeds texts. Each is cut to what the tokenizer takes.
    ///
    /// @return a unit vector for each, of the projection's width
    /// @throws IllegalArgumentException when one is not Unicode text, naming its index
    /// @throws ArithmeticException when one's embedding has no direction
    public double[][] embedTexts(List<String> texts) {
        if (texts.isEmpty()) {
            return new double[0][];
        }
        List<ClipTokens> rows = tokenizer.encode(texts);
        // The tower looks back only, so what follows a row's end token changes nothing and need not be computed.
        int length = rows.stream().mapToInt(ClipTokens::count).max().orElseThrow();
        int[] ids = new int[rows.size() * length];
        for (int i = 0; i < rows.size(); i++) {
            System.arraycopy(rows.get(i).ids(), 0, ids, i * length, length);
        }
        try (DeviceTensor tokens = engine.fromHost(ids, rows.size(), length);
                EncodedText encoded = text.network().encodeText(tokens, 0, true, true)) {
            return unit(encoded.pooled().toFloats(), rows.size());
        }
    }

    /// Embeds images.
    ///
    /// @return a unit vector for each, of the projection's width
    /// @throws ArithmeticException when one's embedding has no direction
    public double[][] embedImages(List<RgbImage> rgbImages) {
        return embedPixels(rgbImages.stream().map(images::apply).toList());
    }

    /// Embeds images that the image processor has prepared.
    ///
    /// @param pixelValues Preprocessed images, each [3, height, width]
    public double[][] embedPixels(List<float[]> pixelValues) {
        if (pixelValues.isEmpty()) {
            return new double[0][];
        }
        int row = 3 * images.height() * images.width();
        float[] all = new float[Math.multiplyExact(row, pixelValues.size())];
        for (int i = 0; i < pixelValues.size(); i++) {
            float[] values = pixelValues.get(i);
            if (values.length != row) {
                throw new IllegalArgumentException("pixel values " + i + ": expected 3x" + images.height() + "x"
                        + images.width() + " numbers, got " + values.length);
            }
            System.arraycopy(values, 0, all, i * row, row);
        }
        try (DeviceTensor pixels = engine.fromHost(all, pixelValues.size(), 3, images.height(), images.width());
                DeviceTensor embedded = vision.encodeImage(pixels)) {
            return unit(embedded.toFloats(), pixelValues.size());
        }
    }

    /// The inner product of unit vectors of one width, in double.
    public static double cosine(double[] a, double[] b) {
        if (a.length != b.length) {
            throw new IllegalArgumentException("cosine: expected equal widths, got " + a.length + " and " + b.length);
        }
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    private static double[][] unit(float[] rows, int count) {
        int width = rows.length / count;
        double[][] units = new double[count][width];
        for (int i = 0; i < count; i++) {
            double squares = 0;
            for (int j = 0; j < width; j++) {
                double value = rows[i * width + j];
                squares += value * value;
            }
            double norm = Math.sqrt(squares);
            if (!(norm > 0) || Double.isInfinite(norm)) {
                throw new ArithmeticException(
                        "embedding " + i + ": expected a vector with a direction, got one of norm "
                                + norm + ": "
                                + Arrays.toString(Arrays.copyOfRange(rows, i * width, i * width + Math.min(4, width)))
                                + "...");
            }
            for (int j = 0; j < width; j++) {
                units[i][j] = rows[i * width + j] / norm;
            }
        }
        return units;
    }

    @Override
    public void close() {
        owned.closeUnchecked();
    }
}
