package org.smpo.reward;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.smpo.ffi.Engine;
import org.smpo.io.Digest;
import org.smpo.io.FloatTensor;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipImageProcessor;
import org.smpo.network.ClipModel;

/// The LAION aesthetic predictor (github.com/christophschuhmann/improved-aesthetic-predictor, commit
/// 6934dd8): a head on the normalised image embedding of CLIP ViT-L/14. Scores range from about 1 to 10 and
/// do not depend on the caption.
///
/// Two heads are published. `sac+logos+ava1-l14-linearMSE.pth` has five linear layers without activations
/// in between, which are one linear layer, folded here in double. `ava+logos-l14-reluMSE.pth` has a ReLU
/// after each layer but the last. The numbers of the layers tell them apart, since dropout and ReLU are
/// numbered as well.
final class Aesthetic implements Reward {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            return Files.isDirectory(path)
                    && ClipScore.isClipModel(path)
                    && heads(path).size() == 1;
        }

        @Override
        public RewardFiles files(Path path, Path processor) throws IOException {
            return AestheticFiles.of(path, processor);
        }
    };

    private static final List<Integer> LINEAR = List.of(0, 2, 4, 6, 7);
    private static final List<Integer> RELU = List.of(0, 3, 6, 9, 11);

    private final ClipModel clip;
    private final Head head;
    private final String digest;
    private final Precision precision;

    private Aesthetic(ClipModel clip, Head head, String digest, Precision precision) {
        this.clip = clip;
        this.head = head;
        this.digest = digest;
        this.precision = precision;
    }

    /// Returns the files in a folder that may be heads: torch files, and safetensors files that are not the
    /// CLIP model's.
    private static List<Path> heads(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.getFileName().toString().matches(".*\\.pth|(?!model).*\\.safetensors"))
                    .sorted()
                    .toList();
        }
    }

    /// A CLIP model in the transformers format and a head.
    ///
    /// @param clip folder of the CLIP model
    /// @param processor folder with `preprocessor_config.json` and the tokenizer
    /// @param head file of the head
    record AestheticFiles(Path clip, Path processor, Path head) implements RewardFiles {
        /// Finds the files: a folder with a CLIP model and a head, or a head with the CLIP model in the
        /// processor's folder.
        static AestheticFiles of(Path path, Path processor) throws IOException {
            if (!Files.isDirectory(path)) {
                Path clip = processor.equals(path) ? path.toAbsolutePath().getParent() : processor;
                return new AestheticFiles(clip, clip, path);
            }
            List<Path> heads = heads(path);
            if (heads.size() != 1) {
                throw new IOException(path + ": expected one head (.pth or .safetensors) beside the CLIP model, found "
                        + (heads.isEmpty() ? "none" : heads) + ": name the head's file instead of the folder");
            }
            return new AestheticFiles(path, processor, heads.getFirst());
        }

        @Override
        public String digest() throws IOException {
            return digest(ClipModel.digest(clip, processor));
        }

        private String digest(String clipDigest) throws IOException {
            return Digest.sha256((clipDigest + "\n" + Digest.sha256(head)).getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public String preprocessing(Precision precision) throws IOException {
            return ClipImageProcessor.open(processor).describe() + "; " + precision.id();
        }

        @Override
        public Reward open(Engine engine, Precision precision) throws IOException {
            Head head = Head.read(this.head);
            ClipModel model = ClipModel.open(engine, clip, processor, precision);
            int width = model.config().vision().projectionDim();
            if (width != head.width()) {
                model.close();
                throw new IOException(this.head + ": expected a head for embeddings of width " + width
                        + ", as the CLIP model has, found one for " + head.width());
            }
            return new Aesthetic(model, head, digest(model.digest()), precision);
        }
    }

    /// A head: linear layers in double, with a ReLU between them or none.
    ///
    /// @param weights row-major matrices, [outputs, inputs] each
    /// @param biases biases of the layers
    /// @param relu whether a ReLU follows each layer but the last
    record Head(List<double[][]> weights, List<double[]> biases, boolean relu) {
        /// Reads a head from a torch or safetensors file. Keys may have the prefix `mlp.`.
        ///
        /// @throws IOException when the layers are not those of a published head
        static Head read(Path file) throws IOException {
            Map<String, FloatTensor> tensors = FloatTensor.readAll(file);
            String prefix = tensors.keySet().stream().anyMatch(name -> name.startsWith("mlp.layers.")) ? "mlp." : "";
            TreeSet<Integer> found = new TreeSet<>();
            for (String name : tensors.keySet()) {
                if (name.matches(java.util.regex.Pattern.quote(prefix) + "layers\\.\\d{1,4}\\.weight")) {
                    found.add(Integer.valueOf(name.replaceAll(".*layers\\.(\\d+)\\.weight", "$1")));
                }
            }
            List<Integer> layers = List.copyOf(found);
            if (!layers.equals(LINEAR) && !layers.equals(RELU)) {
                throw new IOException(
                        file + ": expected layers 0, 2, 4, 6, 7 (linear) or 0, 3, 6, 9, 11 (ReLU), found " + layers);
            }
            List<double[][]> weights = new ArrayList<>();
            List<double[]> biases = new ArrayList<>();
            long inputs = -1;
            for (int layer : layers) {
                FloatTensor weight = tensors.get(prefix + "layers." + layer + ".weight");
                FloatTensor bias = tensors.get(prefix + "layers." + layer + ".bias");
                if (bias == null
                        || weight.shape().size() != 2
                        || !bias.shape().equals(weight.shape().subList(0, 1))
                        || (inputs >= 0 && inputs != weight.shape().get(1))) {
                    throw new IOException(
                            file + ": layers." + layer + ": expected weight and bias of fitting shapes, found "
                                    + weight.shape() + " and " + (bias == null ? "no bias" : bias.shape()));
                }
                inputs = weight.shape().get(0);
                weights.add(matrix(weight));
                biases.add(doubles(bias.values(), 0, bias.values().length));
            }
            if (inputs != 1) {
                throw new IOException(file + ": expected one output, found " + inputs);
            }
            Head head = new Head(weights, biases, layers.equals(RELU));
            return head.relu ? head : head.folded();
        }

        private static double[][] matrix(FloatTensor tensor) {
            int rows = Math.toIntExact(tensor.shape().get(0));
            int columns = Math.toIntExact(tensor.shape().get(1));
            double[][] matrix = new double[rows][];
            for (int row = 0; row < rows; row++) {
                matrix[row] = doubles(tensor.values(), row * columns, columns);
            }
            return matrix;
        }

        private static double[] doubles(float[] values, int from, int count) {
            double[] all = new double[count];
            Arrays.setAll(all, i -> values[from + i]);
            return all;
        }

        /// Returns the one layer that equals all layers together.
        private Head folded() {
            double[][] weight = weights.getFirst();
            double[] bias = biases.getFirst();
            for (int layer = 1; layer < weights.size(); layer++) {
                double[][] next = weights.get(layer);
                double[][] product = new double[next.length][weight[0].length];
                for (int row = 0; row < next.length; row++) {
                    for (int k = 0; k < weight.length; k++) {
                        for (int column = 0; column < product[row].length; column++) {
                            product[row][column] += next[row][k] * weight[k][column];
                        }
                    }
                }
                bias = apply(next, biases.get(layer), bias);
                weight = product;
            }
            return new Head(List.<double[][]>of(weight), List.of(bias), false);
        }

        private static double[] apply(double[][] weight, double[] bias, double[] input) {
            double[] output = bias.clone();
            for (int row = 0; row < output.length; row++) {
                for (int i = 0; i < input.length; i++) {
                    output[row] += weight[row][i] * input[i];
                }
            }
            return output;
        }

        /// Returns the width of the embeddings that the head takes.
        int width() {
            return weights.getFirst()[0].length;
        }

        /// Returns the score of an embedding.
        double score(double[] embedding) {
            double[] values = embedding;
            for (int layer = 0; layer < weights.size(); layer++) {
                values = apply(weights.get(layer), biases.get(layer), values);
                if (relu && layer + 1 < weights.size()) {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = Math.max(0, values[i]);
                    }
                }
            }
            return values[0];
        }
    }

    @Override
    public String kind() {
        return RewardKind.AESTHETIC.id();
    }

    @Override
    public String digest() {
        return digest;
    }

    @Override
    public String preprocessing() {
        return clip.imageProcessor().describe() + "; " + precision.id();
    }

    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        if (captions.size() != images.size()) {
            throw new IllegalArgumentException(
                    "score: expected as many captions as images, got " + captions.size() + " and " + images.size());
        }
        return Arrays.stream(clip.embedImages(images)).mapToDouble(head::score).toArray();
    }

    @Override
    public void close() {
        clip.close();
    }
}
