package org.smpo.network;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.smpo.checkpoint.ClipFile;
import org.smpo.checkpoint.ClipModelConfig;
import org.smpo.checkpoint.ClipTextConfig;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.ffi.Device;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.EncodedText;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.io.Closer;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;

/// A CLIP model with both towers: it embeds texts and images as unit vectors of one space, whose inner
/// products are cosines. OpenAI's models, OpenCLIP's conversions and PickScore are such models.
///
/// Embeddings are computed on the device and normalized here in double. Belongs to the thread that
/// opened it.
public final class ClipModel implements AutoCloseable {
    /// Files that decide the token ids of a text.
    private static final List<String> TOKENIZER_FILES =
            List.of("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json");

    private final Engine engine;
    private final Closer owned;
    private final ClipModelConfig config;
    private final ClipImageProcessor images;
    private final ClipTokenizer tokenizer;
    private final TextEncoder text;
    private final ClipVision vision;
    private final double logitScale;
    private final String digest;

    private ClipModel(
            Engine engine,
            Closer owned,
            ClipModelConfig config,
            ClipImageProcessor images,
            ClipTokenizer tokenizer,
            TextEncoder text,
            ClipVision vision,
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
    /// @param path Folder or file; see [ClipFile]
    /// @param device `cpu`, `cuda` or `cuda:N`
    /// @param precision Precision of both towers
    /// @param threads Number of CPU threads; 0: one per physical core
    /// @throws ModelException when the model is no CLIP model, or not one that we support
    /// @throws IllegalArgumentException for an unknown device
    /// @throws IOException when a file is missing or cannot be read
    public static ClipModel open(Path path, ClipProcessor processor, String device, Precision precision, int threads)
            throws IOException {
        EngineConfig config =
                EngineConfig.onCpu().withDevice(Device.parse(device)).withThreads(threads);
        Closer owned = new Closer();
        try {
            return open(owned.add(Engine.open(config)), owned, path, processor, precision);
        } catch (IOException | RuntimeException e) {
            owned.closeAfter(e);
            throw e;
        }
    }

    /// Opens a model on an engine that the caller keeps and closes.
    public static ClipModel open(Engine engine, Path path, ClipProcessor processor, Precision precision)
            throws IOException {
        Closer owned = new Closer();
        try {
            return open(engine, owned, path, processor, precision);
        } catch (IOException | RuntimeException e) {
            owned.closeAfter(e);
            throw e;
        }
    }

    private static ClipModel open(Engine engine, Closer owned, Path path, ClipProcessor processor, Precision precision)
            throws IOException {
        try (ModelFiles files = ClipFile.open(path)) {
            Component whole = files.only();
            ClipModelConfig config = NativeWeights.config(whole, ClipModelConfig.class);
            ClipImageProcessor images = processor.images(config.vision());
            TokenizerFiles tokens = processor.tokenizer(config.text());
            double logitScale = whole.weights().get(ClipModelConfig.LOGIT_SCALE).toDoubles()[0];
            String digest = digest(whole, tokens);
            ClipTokenizer tokenizer = owned.add(ClipTokenizer.open(tokens));
            requireFits(config.text(), tokenizer, tokens.place(""));
            ModelOptions options = ModelOptions.frozen(precision.dtype());
            TextEncoder text = owned.add(TextEncoder.load(engine, ClipVision.part(whole, config.text()), options));
            ClipVision vision = owned.add(ClipVision.open(engine, files, processor, precision));
            return new ClipModel(engine, owned, config, images, tokenizer, text, vision, logitScale, digest);
        }
    }

    private static void requireFits(ClipTextConfig text, ClipTokenizer tokenizer, String processor)
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

    /// Returns the digest of the model that [#open] returns, without loading it.
    ///
    /// @param path folder or file of the model
    /// @throws IOException when a file is missing or cannot be read
    public static String digest(Path path, ClipProcessor processor) throws IOException {
        try (ModelFiles files = ClipFile.open(path)) {
            Component whole = files.only();
            return digest(
                    whole,
                    processor.tokenizer(
                            NativeWeights.config(whole, ClipModelConfig.class).text()));
        }
    }

    private static String digest(Component whole, TokenizerFiles tokenizer) throws IOException {
        StringBuilder parts =
                new StringBuilder("weights ").append(whole.sha256()).append('\n');
        parts.append("config ").append(Json.canonical(whole.config().json().asMap()));
        for (String name : TOKENIZER_FILES) {
            Optional<byte[]> file = tokenizer.read(name);
            file.ifPresent(bytes ->
                    parts.append(name).append(' ').append(Digest.sha256(bytes)).append('\n'));
        }
        return Digest.sha256(parts.toString().getBytes(StandardCharsets.UTF_8));
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

    /// SHA-256 of everything that decides the embeddings except the preprocessing of images: weights
    /// (independent of how they are divided among files), config, tokenizer.
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
            return ClipVision.unit(encoded.pooled().toFloats(), rows.size());
        }
    }

    /// Embeds images.
    ///
    /// @return a unit vector for each, of the projection's width
    /// @throws ArithmeticException when one's embedding has no direction
    public double[][] embedImages(List<RgbImage> rgbImages) {
        return vision.embed(rgbImages);
    }

    /// Embeds images that the image processor has prepared.
    ///
    /// @param pixelValues Preprocessed images, each [3, height, width]
    public double[][] embedPixels(List<float[]> pixelValues) {
        return vision.embedPixels(pixelValues);
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

    /// Returns the gradient of a score of each image's embedding with respect to its pixels.
    ///
    /// @see ClipVision#gradient
    public DeviceTensor gradient(DeviceTensor pixels, UnaryOperator<double[][]> gradient) {
        return vision.gradient(pixels, gradient);
    }

    @Override
    public void close() {
        owned.closeUnchecked();
    }
}
