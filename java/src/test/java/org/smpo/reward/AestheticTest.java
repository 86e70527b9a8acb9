package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.FloatTensor;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipModel;
import org.smpo.network.ClipProcessor;
import org.smpo.network.TinyClip;

final class AestheticTest {
    /// Published head, which is too large for the repository: `sac+logos+ava1-l14-linearMSE.pth`.
    private static final String PUBLISHED = "SMPO_AESTHETIC_HEAD";

    @TempDir
    private Path temporary;

    private static Map<String, FloatTensor> layers(String prefix, int[] names, int[] widths) {
        Random random = new Random(1);
        Map<String, FloatTensor> tensors = new LinkedHashMap<>();
        for (int i = 0; i < names.length; i++) {
            float[] weight = new float[widths[i] * widths[i + 1]];
            float[] bias = new float[widths[i + 1]];
            for (int j = 0; j < weight.length; j++) {
                weight[j] = (float) random.nextGaussian();
            }
            for (int j = 0; j < bias.length; j++) {
                bias[j] = (float) random.nextGaussian();
            }
            tensors.put(prefix + "layers." + names[i] + ".weight", FloatTensor.of(weight, widths[i + 1], widths[i]));
            tensors.put(prefix + "layers." + names[i] + ".bias", FloatTensor.of(bias, widths[i + 1]));
        }
        return tensors;
    }

    private Path write(String name, Map<String, FloatTensor> tensors) throws IOException {
        Path file = temporary.resolve(name);
        FloatTensor.writeAll(file, tensors, Map.of());
        return file;
    }

    private static double byHand(
            Map<String, FloatTensor> tensors, String prefix, int[] names, boolean relu, double[] x) {
        double[] values = x;
        for (int i = 0; i < names.length; i++) {
            float[] weight =
                    tensors.get(prefix + "layers." + names[i] + ".weight").values();
            float[] bias = tensors.get(prefix + "layers." + names[i] + ".bias").values();
            double[] next = new double[bias.length];
            for (int row = 0; row < next.length; row++) {
                next[row] = bias[row];
                for (int j = 0; j < values.length; j++) {
                    next[row] += (double) weight[row * values.length + j] * values[j];
                }
                if (relu && i + 1 < names.length) {
                    next[row] = Math.max(0, next[row]);
                }
            }
            values = next;
        }
        return values[0];
    }

    @Test
    void headsAreEvaluatedLayerByLayer() throws IOException {
        int[] widths = {6, 5, 4, 3, 2, 1};
        double[] x = {0.5, -0.5, 0.5, 0.25, -0.25, 0.35355339};
        int[] linear = {0, 2, 4, 6, 7};
        Map<String, FloatTensor> one = layers("", linear, widths);
        assertThat(Head.read(write("linear.safetensors", one)).score(x))
                .isCloseTo(byHand(one, "", linear, false, x), within(1e-12));
        int[] relu = {0, 3, 6, 9, 11};
        Map<String, FloatTensor> other = layers("mlp.", relu, widths);
        Head head = Head.read(write("relu.safetensors", other));
        assertThat(head.score(x)).isCloseTo(byHand(other, "mlp.", relu, true, x), within(1e-12));
        assertThat(head.score(x)).isNotCloseTo(byHand(other, "mlp.", relu, false, x), within(1e-3));
        assertThat(head.width()).isEqualTo(6);
    }

    @Test
    void otherHeadsAreRefused() throws IOException {
        Path odd = write("odd.safetensors", layers("", new int[] {0, 1, 2, 3, 4}, new int[] {6, 5, 4, 3, 2, 1}));
        assertThatThrownBy(() -> Head.read(odd))
                .isInstanceOf(IOException.class)
                .hasMessageContaining(
                        "expected layers 0, 2, 4, 6, 7 (linear) or 0, 3, 6, 9, 11 (ReLU), found [0, 1, 2,");
        Path wide = write("wide.safetensors", layers("", new int[] {0, 2, 4, 6, 7}, new int[] {6, 5, 4, 3, 2, 2}));
        assertThatThrownBy(() -> Head.read(wide)).hasMessageContaining("expected one output, found 2");
    }

    /// The values of the published head, computed with numpy in float64.
    @Test
    void thePublishedHeadHasItsKnownValues() throws IOException {
        String file = System.getenv(PUBLISHED);
        assumeTrue(file != null, "set " + PUBLISHED + " to the file sac+logos+ava1-l14-linearMSE.pth to check it");
        Head head = Head.read(Path.of(file));
        assertThat(head.width()).isEqualTo(768);
        assertThat(head.biases().getFirst()[0]).isCloseTo(5.236645845, within(5.1e-10));
        double[] weight = head.weights().getFirst()[0];
        assertThat(Math.sqrt(Arrays.stream(weight).map(w -> w * w).sum())).isCloseTo(17.995624776, within(5.1e-10));
        assertThat(Arrays.copyOf(weight, 4))
                .containsExactly(
                        new double[] {-0.691593444, -0.556993867, -0.321168522, -0.631483554}, within(5.1e-10));
        double[] first = new double[768];
        first[0] = 1;
        double[] uniform = new double[768];
        double[] alternating = new double[768];
        Arrays.setAll(uniform, i -> 1 / Math.sqrt(768));
        Arrays.setAll(alternating, i -> (i % 2 == 0 ? 1 : -1) / Math.sqrt(768));
        assertThat(head.score(first)).isCloseTo(4.545052401, within(5.1e-10));
        assertThat(head.score(uniform)).isCloseTo(4.883284854, within(5.1e-10));
        assertThat(head.score(alternating)).isCloseTo(5.310305383, within(5.1e-10));
    }

    @Test
    void scoresAreTheHeadOfTheNormalisedEmbedding() throws IOException {
        Path model = TinyClip.write(temporary.resolve("model"), "vit_h", 1);
        int width;
        double[][] embedded;
        List<RgbImage> images = List.copyOf(TinyClip.images().values());
        try (ClipModel clip = ClipModel.open(model, ClipProcessor.of(model), "cpu", Precision.FP32, 1)) {
            width = clip.config().vision().projectionDim();
            embedded = clip.embedImages(images);
        }
        int[] names = {0, 2, 4, 6, 7};
        Map<String, FloatTensor> tensors = layers("", names, new int[] {width, 5, 4, 3, 2, 1});
        Path head = write("head.safetensors", tensors);
        Files.copy(head, model.resolve("head.safetensors"));
        // A CLIP model with one head beside it is certainly this kind.
        RewardSource source = RewardSource.parse(model.toString());
        assertThat(source.kind()).isEqualTo(RewardKind.AESTHETIC);
        List<String> captions = images.stream().map(image -> "whatever").toList();
        String digest = source.digest();
        try (Reward reward = source.open("cpu", Precision.FP32, 1)) {
            double[] scores = reward.score(captions, images);
            for (int i = 0; i < scores.length; i++) {
                assertThat(scores[i]).isCloseTo(byHand(tensors, "", names, false, embedded[i]), within(1e-6));
            }
            assertThat(reward.digest()).isEqualTo(digest);
            assertThat(reward.kind()).isEqualTo("aesthetic");
        }
        // The head's file with the CLIP model elsewhere is the same reward.
        assertThat(RewardSource.parse("aesthetic:" + head).withProcessor(model).digest())
                .isEqualTo(digest);
        FloatTensor.writeAll(head, layers("", names, new int[] {width + 1, 5, 4, 3, 2, 1}), Map.of());
        assertThatThrownBy(() -> RewardSource.parse("aesthetic:" + head)
                        .withProcessor(model)
                        .open("cpu", Precision.FP32, 1))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("expected a head for embeddings of width " + width);
    }
}
