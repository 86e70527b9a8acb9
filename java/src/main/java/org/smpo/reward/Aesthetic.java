package org.smpo.reward;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.smpo.checkpoint.ClipFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Engine;
import org.smpo.io.Digest;
import org.smpo.io.FloatTensor;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;
import org.smpo.network.ClipProcessor;
import org.smpo.network.ClipVision;

/// The LAION aesthetic predictor (github.com/christophschuhmann/improved-aesthetic-predictor, commit
/// 6934dd8): a head on the normalised image embedding of CLIP ViT-L/14. Scores range from about 1 to 10
/// and do not depend on the caption.
///
/// Two heads are published. `sac+logos+ava1-l14-linearMSE.pth` has five linear layers without
/// activations in between, which are one linear layer, folded here in double.
/// `ava+logos-l14-reluMSE.pth` has a ReLU after each layer but the last. The numbers of the layers tell
/// them apart, since dropout and ReLU are numbered as well.
final class Aesthetic implements Reward {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            return Files.isDirectory(path)
                    ? ClipFile.isFolder(path) && heads(path).size() == 1
                    : Head.isIn(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) throws IOException {
            return AestheticFiles.of(path, processor);
        }
    };

    private static final List<Integer> LINEAR = List.of(0, 2, 4, 6, 7);
    private static final List<Integer> RELU = List.of(0, 3, 6, 9, 11);

    private final ClipVision clip;
    private final Head head;
    private final String digest;
    private final Precision precision;

    private Aesthetic(ClipVision clip, Head head, String digest, Precision precision) {
        this.clip = clip;
        this.head = head;
        this.digest = digest;
        this.precision = precision;
    }

    /// Returns the files in a folder that may be heads: torch files, and safetensors files that are not
    /// the CLIP model's.
    private static List<Path> heads(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.getFileName().toString().matches(".*\\.pth|(?!model).*\\.safetensors"))
                    .sorted()
                    .toList();
        }
    }

    /// A CLIP model and a head.
    ///
    /// @param clip folder or file of the CLIP model, of which the vision tower is used
    /// @param processor folder with `preprocessor_config.json`
    /// @param head file of the head; the same as `clip` where one file holds both
    record AestheticFiles(Path clip, ClipProcessor processor, Path head) implements RewardFiles {
        /// Finds the files: a folder with a CLIP model and a head, a file with both, or a head with the
        /// CLIP model in the processor's folder.
        static AestheticFiles of(Path path, Path processor) throws IOException {
            if (!Files.isDirectory(path)) {
                boolean own = processor.equals(path);
                if (ClipFile.hasVision(path)) {
                    return new AestheticFiles(path, ClipProcessor.of(processor), path);
                }
                Path clip = own ? path.toAbsolutePath().getParent() : processor;
                return new AestheticFiles(clip, ClipProcessor.of(clip), path);
            }
            List<Path> heads = heads(path);
            if (heads.size() != 1) {
                throw new IOException(path + ": expected one head (.pth or .safetensors) beside the CLIP model, found "
                        + (heads.isEmpty() ? "none" : heads) + ": name the head's file instead of the folder");
            }
            return new AestheticFiles(path, ClipProcessor.of(processor), heads.getFirst());
        }

        @Override
        public String digest() throws IOException {
            try (ModelFiles files = ClipFile.open(clip)) {
                return digest(ClipVision.digest(files), Head.read(head));
            }
        }

        private static String digest(String clip, Head head) {
            return Digest.sha256((clip + "\n" + head.digest()).getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public String preprocessing(Precision precision) throws IOException {
            return processor.images(ClipFile.vision(ClipFile.config(clip))).describe() + "; " + precision.id();
        }

        @Override
        public Reward open(Engine engine, Precision precision) throws IOException {
            Head head = Head.read(this.head);
            try (ModelFiles files = ClipFile.open(clip)) {
                String digest = digest(ClipVision.digest(files), head);
                ClipVision model = ClipVision.open(engine, files, processor, precision);
                int width = model.config().projectionDim();
                if (width != head.width()) {
                    model.close();
                    throw new IOException(this.head + ": expected a head for embeddings of width " + width
                            + ", as the CLIP model has, found one for " + head.width());
                }
                return new Aesthetic(model, head, digest, precision);
            }
        }
    }

    /// A head: linear layers in double, with a ReLU between them or none.
    ///
    /// @param weights row-major matrices, [outputs, inputs] each
    /// @param biases biases of the layers
    /// @param relu whether a ReLU follows each layer but the last
    record Head(List<double[][]> weights, List<double[]> biases, boolean relu) {
        private static final Pattern LAYER = Pattern.compile("(?<prefix>.*\\.)?layers\\.(?<number>\\d{1,4})\\.weight");

        /// Returns whether a file holds the layers of a published head and nothing that it would not be
        /// found with: a CLIP model at most.
        static boolean isIn(Path file) throws IOException {
            try (TensorFile tensors = TensorFile.open(file)) {
                return layers(tensors).values().stream().anyMatch(Head::isPublished);
            } catch (IOException e) {
                // Another kind of file; what is wrong with it is said by whoever reads it.
                return false;
            }
        }

        private static boolean isPublished(TreeSet<Integer> layers) {
            List<Integer> numbers = List.copyOf(layers);
            return numbers.equals(LINEAR) || numbers.equals(RELU);
        }

        /// Returns the numbers of the layers by the prefix of their names, without those of a CLIP
        /// model.
        private static Map<String, TreeSet<Integer>> layers(TensorFile file) {
            Map<String, TreeSet<Integer>> layers = new TreeMap<>();
            for (TensorEntry entry : file.entries()) {
                Matcher matcher = LAYER.matcher(entry.name());
                if (matcher.matches()) {
                    String prefix = matcher.group("prefix") == null ? "" : matcher.group("prefix");
                    layers.computeIfAbsent(prefix, p -> new TreeSet<>()).add(Integer.valueOf(matcher.group("number")));
                }
            }
            return layers;
        }

        /// Reads a head from a torch or safetensors file. Its keys may have a prefix such as `mlp.`.
        ///
        /// @throws IOException when the layers are not those of a published head
        static Head read(Path file) throws IOException {
            Map<String, FloatTensor> tensors = new TreeMap<>();
            String prefix = "";
            List<Integer> layers;
            try (TensorFile open = TensorFile.open(file)) {
                Map<String, TreeSet<Integer>> found = layers(open);
                if (found.size() > 1) {
                    throw new IOException(file + ": expected one head, found layers under " + found.keySet());
                }
                if (!found.isEmpty()) {
                    prefix = found.keySet().iterator().next();
                }
                layers = List.copyOf(found.getOrDefault(prefix, new TreeSet<>()));
                for (TensorEntry entry : open.entries()) {
                    if (entry.name().startsWith(prefix + "layers.")) {
                        tensors.put(entry.name(), FloatTensor.read(open, entry));
                    }
                }
            }
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

        /// Returns the SHA-256 of everything that decides a score.
        String digest() {
            Digest digest = new Digest();
            for (int layer = 0; layer < weights.size(); layer++) {
                for (double[] row : weights.get(layer)) {
                    update(digest, row);
                }
                update(digest, biases.get(layer));
            }
            return digest.update(ByteBuffer.wrap(new byte[] {(byte) (relu ? 1 : 0)}))
                    .hex();
        }

        private static void update(Digest digest, double[] values) {
            ByteBuffer bytes = ByteBuffer.allocate(Double.BYTES * values.length);
            bytes.asDoubleBuffer().put(values);
            digest.update(bytes);
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
        return Arrays.stream(clip.embed(images)).mapToDouble(head::score).toArray();
    }

    @Override
    public void close() {
        clip.close();
    }
}
