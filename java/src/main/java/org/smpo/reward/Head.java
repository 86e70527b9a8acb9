package org.smpo.reward;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.io.Digest;
import org.smpo.io.FloatTensor;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// A head on the features of a network: linear layers in double, with a ReLU between them or none.
///
/// Layers without activations in between are one linear layer, and are folded into one. The numbers of
/// the layers tell both kinds apart, since dropout and ReLU are numbered as well.
///
/// @param weights row-major matrices, [outputs, inputs] each
/// @param biases biases of the layers
/// @param relu whether a ReLU follows each layer but the last
record Head(List<double[][]> weights, List<double[]> biases, boolean relu) {
    private static final List<Integer> LINEAR = List.of(0, 2, 4, 6, 7);
    private static final List<Integer> RELU = List.of(0, 3, 6, 9, 11);
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
        return values(embedding).getLast()[0];
    }

    /// The input of each layer, then the output of the last one.
    private List<double[]> values(double[] embedding) {
        List<double[]> all = new ArrayList<>(List.of(embedding));
        for (int layer = 0; layer < weights.size(); layer++) {
            double[] values = apply(weights.get(layer), biases.get(layer), all.getLast());
            if (relu && layer + 1 < weights.size()) {
                for (int i = 0; i < values.length; i++) {
                    values[i] = Math.max(0, values[i]);
                }
            }
            all.add(values);
        }
        return all;
    }

    /// Returns the gradient of an embedding's score with respect to the embedding. Where a ReLU's input is 0,
    /// it is 0, as in torch.
    double[] gradient(double[] embedding) {
        List<double[]> inputs = values(embedding);
        double[] gradient = {1};
        for (int layer = weights.size() - 1; layer >= 0; layer--) {
            double[][] weight = weights.get(layer);
            double[] input = inputs.get(layer);
            double[] next = new double[input.length];
            for (int row = 0; row < gradient.length; row++) {
                for (int i = 0; i < next.length; i++) {
                    next[i] += gradient[row] * weight[row][i];
                }
            }
            for (int i = 0; i < next.length; i++) {
                // The input of a later layer is the output of a ReLU.
                next[i] = relu && layer > 0 && input[i] == 0 ? 0 : next[i];
            }
            gradient = next;
        }
        return gradient;
    }
}
