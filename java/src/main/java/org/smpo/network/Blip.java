package org.smpo.network;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.smpo.checkpoint.BertConfig;
import org.smpo.checkpoint.BlipFile;
import org.smpo.checkpoint.BlipVisionConfig;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.ffi.BertSpec;
import org.smpo.ffi.ClipActivation;
import org.smpo.ffi.ClipVisionSpec;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.io.Closer;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;

/// BLIP's image-grounded text encoder: a vision transformer, and BERT that attends to its states. It
/// encodes a caption together with an image as one vector.
///
/// Belongs to the thread that opened it.
public final class Blip implements AutoCloseable {
    /// Largest number of ids of a caption.
    private static final int LENGTH = 35;

    private final Engine engine;
    private final Closer owned;
    private final ClipImageProcessor images;
    private final BertTokenizer tokenizer;
    private final NativeModel vision;
    private final NativeModel text;
    private final int width;
    private final String digest;

    private Blip(
            Engine engine,
            Closer owned,
            ClipImageProcessor images,
            BertTokenizer tokenizer,
            NativeModel vision,
            NativeModel text,
            int width,
            String digest) {
        this.engine = engine;
        this.owned = owned;
        this.images = images;
        this.tokenizer = tokenizer;
        this.vision = vision;
        this.text = text;
        this.width = width;
        this.digest = digest;
    }

    /// Opens a model on an engine that the caller keeps and closes.
    ///
    /// @param path folder or file; see [BlipFile]
    /// @param vocabulary folder with BERT's `vocab.txt`
    /// @throws ModelException when there is no BLIP model, or not one that we support
    /// @throws TokenizerException when the vocabulary is missing or another model's
    /// @throws IOException when a file cannot be read
    public static Blip open(Engine engine, Path path, TokenizerFiles vocabulary, Precision precision)
            throws IOException {
        Closer owned = new Closer();
        try (ModelFiles files = BlipFile.open(path)) {
            BertTokenizer tokenizer = owned.add(tokenizer(files, vocabulary));
            Component visual = files.component(BlipFile.VISION);
            Component textual = files.component(BlipFile.TEXT);
            BlipVisionConfig vision = NativeWeights.config(visual, BlipVisionConfig.class);
            BertConfig text = NativeWeights.config(textual, BertConfig.class);
            ModelOptions options = ModelOptions.frozen(precision.dtype());
            String digest = digest(files, tokenizer);
            NativeModel eyes =
                    owned.add(NativeWeights.fill(NativeModel.openClipVision(engine, spec(vision), options), visual));
            NativeModel words =
                    owned.add(NativeWeights.fill(NativeModel.openBert(engine, spec(text), options), textual));
            return new Blip(engine, owned, images(vision), tokenizer, eyes, words, text.hiddenSize(), digest);
        } catch (IOException | RuntimeException e) {
            owned.closeAfter(e);
            throw e;
        }
    }

    /// Returns the digest of the model that [#open] returns, without loading it.
    public static String digest(Path path, TokenizerFiles vocabulary) throws IOException {
        try (ModelFiles files = BlipFile.open(path);
                BertTokenizer tokenizer = tokenizer(files, vocabulary)) {
            return digest(files, tokenizer);
        }
    }

    private static String digest(ModelFiles files, BertTokenizer tokenizer) throws IOException {
        Component visual = files.component(BlipFile.VISION);
        Component textual = files.component(BlipFile.TEXT);
        BertConfig text = NativeWeights.config(textual, BertConfig.class);
        String parts = "vision " + visual.sha256() + "\ntext " + textual.sha256() + "\nvocabulary " + tokenizer.digest()
                + "\n" + Json.canonical(Map.of("heads", (long) text.attentionHeads(), "eps", text.layerNormEps()));
        return Digest.sha256(parts.getBytes(StandardCharsets.UTF_8));
    }

    /// Returns the image processor for a vision transformer: the published one, resize and crop by
    /// torchvision.
    public static ClipImageProcessor images(BlipVisionConfig vision) throws ModelException {
        if (vision.channels() != 3) {
            throw new ModelException(vision.json().source(), "in_chans", "3 (red, green, blue)", vision.channels());
        }
        return ClipImageProcessor.torchvision(vision.imageSize());
    }

    private static BertTokenizer tokenizer(ModelFiles files, TokenizerFiles vocabulary) throws IOException {
        BertTokenizer tokenizer = BertTokenizer.open(vocabulary);
        BertConfig text = NativeWeights.config(files.component(BlipFile.TEXT), BertConfig.class);
        if (tokenizer.size() != text.vocabSize() || text.maxPositionEmbeddings() < LENGTH) {
            tokenizer.close();
            throw new TokenizerException(vocabulary.place("vocab.txt") + ": expected the vocabulary of a model of "
                    + text.vocabSize() + " tokens and at least " + LENGTH + " positions, two of them BLIP's own, found "
                    + tokenizer.size() + " tokens with these two and " + text.maxPositionEmbeddings()
                    + " positions; ImageReward takes vocab.txt of bert-base-uncased");
        }
        return tokenizer;
    }

    private static ClipVisionSpec spec(BlipVisionConfig config) {
        return new ClipVisionSpec(
                config.imageSize(),
                config.patchSize(),
                config.channels(),
                config.hiddenSize(),
                config.intermediateSize(),
                config.attentionHeads(),
                config.layers(),
                ClipActivation.GELU,
                0,
                BlipVisionConfig.LAYER_NORM_EPS,
                true,
                false,
                true);
    }

    private static BertSpec spec(BertConfig config) {
        return new BertSpec(
                config.vocabSize(),
                config.maxPositionEmbeddings(),
                config.hiddenSize(),
                config.intermediateSize(),
                config.attentionHeads(),
                config.layers(),
                config.encoderWidth(),
                config.layerNormEps());
    }

    /// Width of the vectors.
    public int width() {
        return width;
    }

    /// The preprocessing of images.
    public ClipImageProcessor imageProcessor() {
        return images;
    }

    /// The SHA-256 of everything that decides a vector except the preprocessing of images.
    public String digest() {
        return digest;
    }

    /// Encodes each caption with the image at the same position: the state of the caption's first token
    /// after the last layer. Captions beyond 35 tokens keep their beginning.
    ///
    /// @param captions captions, as many as images
    /// @return vectors of [#width], not normalized
    /// @throws IllegalArgumentException when a caption is not Unicode text
    public double[][] encode(List<String> captions, List<RgbImage> rgbImages) {
        // Captions of one length run together, so that none needs padding.
        Map<Integer, List<Integer>> rows = new TreeMap<>();
        List<int[]> ids = new ArrayList<>();
        for (String caption : captions) {
            int[] tokens = tokenizer.encode(caption, LENGTH);
            rows.computeIfAbsent(tokens.length, length -> new ArrayList<>()).add(ids.size());
            ids.add(tokens);
        }
        double[][] vectors = new double[captions.size()][];
        rows.forEach((length, group) -> encode(group, length, ids, rgbImages, vectors));
        return vectors;
    }

    private void encode(
            List<Integer> group, int length, List<int[]> ids, List<RgbImage> rgbImages, double[][] vectors) {
        int row = 3 * images.height() * images.width();
        float[] pixels = new float[Math.multiplyExact(row, group.size())];
        int[] tokens = new int[length * group.size()];
        for (int i = 0; i < group.size(); i++) {
            System.arraycopy(images.apply(rgbImages.get(group.get(i))), 0, pixels, i * row, row);
            System.arraycopy(ids.get(group.get(i)), 0, tokens, i * length, length);
        }
        float[] states;
        try (DeviceTensor values = engine.fromHost(pixels, group.size(), 3, images.height(), images.width());
                DeviceTensor seen = vision.encodeImage(values);
                DeviceTensor words = engine.fromHost(tokens, group.size(), length);
                DeviceTensor first = text.encodeTokens(words, seen)) {
            states = first.toFloats();
        }
        for (int i = 0; i < group.size(); i++) {
            double[] vector = new double[width];
            for (int j = 0; j < width; j++) {
                vector[j] = states[i * width + j];
            }
            vectors[group.get(i)] = vector;
        }
    }

    @Override
    public void close() {
        owned.closeUnchecked();
    }
}
