package org.smpo.network;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.smpo.checkpoint.Activation;
import org.smpo.checkpoint.ClipModelConfig;
import org.smpo.checkpoint.ClipVisionConfig;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelConfig;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.Weight;
import org.smpo.ffi.ClipActivation;
import org.smpo.ffi.ClipVisionSpec;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.InputGradients;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.PixelSpec;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;

/// The vision tower of a CLIP model with its projection: it embeds images as unit vectors.
///
/// Embeddings are computed on the device and normalized here in double. Belongs to the thread that
/// opened it.
public final class ClipVision implements AutoCloseable {
    private final Engine engine;
    private final ClipVisionConfig config;
    private final ClipImageProcessor images;
    private final NativeModel network;

    private ClipVision(Engine engine, ClipVisionConfig config, ClipImageProcessor images, NativeModel network) {
        this.engine = engine;
        this.config = config;
        this.images = images;
        this.network = network;
    }

    /// Opens the vision tower of a model, on an engine that the caller keeps and closes.
    ///
    /// @param files model, as [ClipFile#open] returns it
    /// @throws ModelException when the model has no vision tower with a projection
    /// @throws IOException when a file is missing or cannot be read
    public static ClipVision open(Engine engine, ModelFiles files, ClipProcessor processor, Precision precision)
            throws IOException {
        Component whole = files.only();
        ClipVisionConfig config = config(whole);
        ClipImageProcessor images = processor.images(config);
        NativeModel network = NativeWeights.fill(
                NativeModel.openClipVision(engine, spec(config), ModelOptions.frozen(precision.dtype())),
                part(whole, config));
        return new ClipVision(engine, config, images, network);
    }

    /// Returns the config of a CLIP model's vision tower.
    ///
    /// @throws ModelException when the component is no CLIP model, or projects nothing
    static ClipVisionConfig config(Component component) throws ModelException {
        ClipVisionConfig vision = component.config() instanceof ClipModelConfig whole
                ? whole.vision()
                : NativeWeights.config(component, ClipVisionConfig.class);
        if (vision.projectionDim() == 0) {
            throw new ModelException(vision.json().source(), "class", "a tower with a projection", "one without");
        }
        return vision;
    }

    /// Returns the SHA-256 of everything that decides the embeddings except the preprocessing of images.
    public static String digest(ModelFiles files) throws IOException {
        Component whole = files.only();
        ClipVisionConfig config = config(whole);
        String text = "vision " + part(whole, config).sha256() + "\n"
                + Json.canonical(Map.of(
                        "image_size", (long) config.imageSize(),
                        "patch_size", (long) config.patchSize(),
                        "heads", (long) config.attentionHeads(),
                        "activation", config.activation().name(),
                        "eps", config.layerNormEps()));
        return Digest.sha256(text.getBytes(StandardCharsets.UTF_8));
    }

    /// One tower of a whole model.
    static Component part(Component whole, ModelConfig tower) {
        Map<String, Weight> weights = new LinkedHashMap<>();
        tower.parameters()
                .keySet()
                .forEach(name -> weights.put(name, whole.weights().get(name)));
        return new Component(whole.name(), whole.library(), whole.className(), tower, weights, whole.files());
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

    /// The architecture.
    public ClipVisionConfig config() {
        return config;
    }

    /// The preprocessing of images.
    public ClipImageProcessor imageProcessor() {
        return images;
    }

    /// Embeds images.
    ///
    /// @return a unit vector for each, of the projection's width
    /// @throws ArithmeticException when one's embedding has no direction
    public double[][] embed(List<RgbImage> rgbImages) {
        return embedPixels(rgbImages.stream().map(images::apply).toList());
    }

    /// Embeds images that the image processor has prepared.
    ///
    /// @param pixelValues preprocessed images, each [3, height, width]
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
                DeviceTensor embedded = network.encodeImage(pixels)) {
            return unit(embedded.toFloats(), pixelValues.size());
        }
    }

    /// Returns the gradient of a score of each image's embedding with respect to its pixels. Images are
    /// preprocessed in float; see [ClipImageProcessor#differentiable].
    ///
    /// @param pixels images `[B,3,H,W]` in [-1, 1]
    /// @param gradient gradient of the scores with respect to the unit vectors that it is given
    /// @return `[B,3,H,W]`, the caller's to close
    /// @throws ArithmeticException when an embedding has no direction
    public DeviceTensor gradient(DeviceTensor pixels, UnaryOperator<double[][]> gradient) {
        long[] shape = pixels.shape();
        PixelSpec spec = images.differentiable(Math.toIntExact(shape[2]), Math.toIntExact(shape[3]));
        try (DeviceTensor values = spec.values(pixels)) {
            float[] embedded;
            try (DeviceTensor embeds = network.encodeImage(values)) {
                embedded = embeds.toFloats();
            }
            int count = Math.toIntExact(shape[0]);
            double[][] units = unit(embedded, count);
            double[][] byUnit = gradient.apply(units);
            int width = embedded.length / count;
            float[] byEmbedding = new float[embedded.length];
            for (int i = 0; i < count; i++) {
                double squares = 0;
                double along = 0;
                for (int j = 0; j < width; j++) {
                    double value = embedded[i * width + j];
                    squares += value * value;
                    along += units[i][j] * byUnit[i][j];
                }
                for (int j = 0; j < width; j++) {
                    byEmbedding[i * width + j] = (float) ((byUnit[i][j] - along * units[i][j]) / Math.sqrt(squares));
                }
            }
            try (DeviceTensor cotangent = engine.fromHost(byEmbedding, count, width);
                    DeviceTensor byValues = InputGradients.ofVision(network, values, cotangent)) {
                return spec.backward(pixels, byValues);
            }
        }
    }

    /// Normalizes the rows of a matrix.
    static double[][] unit(float[] rows, int count) {
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
        network.close();
    }
}
