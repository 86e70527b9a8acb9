package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.Weight;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.TinyBlip;
import org.smpo.network.TinyClip;

/// ImageReward in the layouts in which it is published, against transformers, timm and torchvision
/// (tools/golden/imagereward.py).
final class ImageRewardTest {
    private static final double TOLERANCE = 2e-5;

    @TempDir
    private Path temporary;

    private static double[][] exact() throws IOException {
        return ((List<?>) TinyBlip.golden().asMap().get("exact"))
                .stream()
                        .map(row -> ((List<?>) row)
                                .stream()
                                        .mapToDouble(x -> ((Number) x).doubleValue())
                                        .toArray())
                        .toArray(double[][]::new);
    }

    /// Returns the scores [captions][images] of a reward, all in one call.
    private static double[][] scores(RewardSource source, Precision precision) throws IOException {
        JsonObject golden = TinyBlip.golden();
        List<RgbImage> images = List.copyOf(TinyClip.images(golden, "images").values());
        List<String> captions = golden.strings("captions");
        List<String> allCaptions = new ArrayList<>();
        List<RgbImage> allImages = new ArrayList<>();
        for (String caption : captions) {
            for (RgbImage image : images) {
                allCaptions.add(caption);
                allImages.add(image);
            }
        }
        double[][] scores = new double[captions.size()][images.size()];
        try (Reward reward = source.open("cpu", precision, 2)) {
            assertThat(reward.digest()).isEqualTo(source.digest());
            assertThat(reward.preprocessing()).isEqualTo(source.preprocessing(precision));
            double[] all = reward.score(allCaptions, allImages);
            for (int i = 0; i < all.length; i++) {
                scores[i / images.size()][i % images.size()] = all[i];
            }
        }
        return scores;
    }

    private static double largest(double[][] found, double[][] expected) {
        assertThat(found.length).isEqualTo(expected.length);
        double largest = 0;
        for (int i = 0; i < found.length; i++) {
            assertThat(found[i]).hasSameSizeAs(expected[i]);
            for (int j = 0; j < found[i].length; j++) {
                largest = Math.max(largest, Math.abs(found[i][j] - expected[i][j]));
            }
        }
        return largest;
    }

    @Test
    void scoresAreThoseOfThePublishedModules() throws IOException {
        Path published = TinyBlip.write(temporary.resolve("published"));
        RewardSource source = RewardSource.parse(published.toString());
        assertThat(source.kind()).isEqualTo(RewardKind.IMAGE_REWARD);
        double[][] exact = exact();
        double[][] found = scores(source, Precision.FP32);
        assertThat(largest(found, exact)).isLessThan(TOLERANCE);
        // The scores tell images and captions apart by far more than the tolerance.
        assertThat(Math.abs(exact[0][0] - exact[0][1])).isGreaterThan(0.01);
        assertThat(Math.abs(exact[0][0] - exact[1][0])).isGreaterThan(0.01);
        found[1][2] += 2 * TOLERANCE;
        assertThat(largest(found, exact)).isGreaterThan(TOLERANCE);
        double[][] rounded = scores(source, Precision.BF16);
        assertThat(largest(rounded, exact)).isBetween(TOLERANCE, 0.3);

        // Safetensors with any prefix, and the vocabulary in another folder, are the same reward.
        Path folder = Files.createDirectories(temporary.resolve("prefixed"));
        Path file = folder.resolve("model.safetensors");
        Files.copy(published.resolve("med_config.json"), folder.resolve("med_config.json"));
        List<Weight> prefixed = TinyBlip.weights().stream()
                .map(weight -> weight.named(weight.name().replaceFirst("^blip", "model.blip")))
                .toList();
        Weight.writeAll(file, prefixed, null, Map.of());
        for (Path path : List.of(file, folder)) {
            RewardSource other = RewardSource.parse("ir=imagereward:" + path).withProcessor(published);
            assertThat(other.digest()).isEqualTo(source.digest());
            assertThat(largest(scores(other, Precision.FP32), exact)).isLessThan(TOLERANCE);
        }
    }

    @Test
    void everyPartDecidesTheDigest() throws IOException {
        Path folder = TinyBlip.writeConfig(temporary.resolve("folder"));
        Path file = folder.resolve("model.safetensors");
        List<Weight> weights = new ArrayList<>(TinyBlip.weights());
        Weight.writeAll(file, weights, null, Map.of());
        String digest = RewardSource.parse(folder.toString()).digest();
        for (String name : List.of(
                "blip.visual_encoder.blocks.1.attn.qkv.bias",
                "blip.text_encoder.encoder.layer.2.crossattention.self.key.bias",
                "mlp.layers.4.bias")) {
            List<Weight> changed = new ArrayList<>(weights);
            changed.replaceAll(weight -> weight.name().equals(name)
                    ? TinyClip.weight("other", weight.shape()).named(name)
                    : weight);
            Weight.writeAll(file, changed, null, Map.of());
            assertThat(RewardSource.parse(folder.toString()).digest()).as(name).isNotEqualTo(digest);
        }
        Weight.writeAll(file, weights, null, Map.of());
        String vocabulary = Files.readString(folder.resolve("vocab.txt"));
        Files.writeString(folder.resolve("vocab.txt"), vocabulary.replace("\ncat\n", "\ncats\n"));
        assertThat(RewardSource.parse(folder.toString()).digest()).isNotEqualTo(digest);
    }

    @Test
    void aScoreIsStandardized() {
        assertThat(ImageReward.standardized(-2)).isCloseTo(-2.097252292610, within(1e-12));
        assertThat(ImageReward.standardized(0)).isCloseTo(-0.161779965684, within(1e-12));
        assertThat(ImageReward.standardized(1)).isCloseTo(0.805956197779, within(1e-12));
        assertThat(RewardKind.IMAGE_REWARD.published().temperature()).isCloseTo(0.967736, within(1e-6));
    }

    private static List<Weight> without(String start) throws IOException {
        return TinyBlip.weights().stream()
                .filter(weight -> !weight.name().startsWith(start))
                .toList();
    }

    private void refused(Path path, String... message) {
        assertThatThrownBy(() -> RewardSource.parse("imagereward:" + path).open("cpu", Precision.FP32, 1))
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll(message);
    }

    @Test
    void whatDoesNotFitIsNamed() throws IOException {
        Path folder = TinyBlip.writeConfig(temporary.resolve("folder"));
        refused(folder, "expected BLIP's weights, one of ImageReward.pt", "found none of them");
        Path file = folder.resolve("model.safetensors");
        Weight.writeAll(file, without("mlp."), null, Map.of());
        refused(file, "expected layers 0, 2, 4, 6, 7", "found []");
        assertThatThrownBy(() -> RewardSource.parse(file.toString()))
                .hasMessageContaining("name the kind as KIND:PATH");
        Weight.writeAll(file, without("blip.visual_encoder."), null, Map.of());
        refused(file, "visual_encoder.cls_token", "under any prefix");
        Weight.writeAll(file, without("blip.text_encoder.encoder.layer.1.crossattention"), null, Map.of());
        refused(file, "missing: encoder.layer.1.crossattention.self.query.weight");
        Weight.writeAll(file, without("blip.visual_encoder.blocks.2.attn.qkv.weight"), null, Map.of());
        refused(file, "missing: vision_model.encoder.layers.2.self_attn.k_proj.weight");

        Weight.writeAll(file, TinyBlip.weights(), null, Map.of());
        Path vocabulary = folder.resolve("vocab.txt");
        String words = Files.readString(vocabulary);
        Files.writeString(vocabulary, words + "more\n");
        refused(file, "vocab.txt", "a model of 2502 tokens", "found 2503 tokens", "bert-base-uncased");
        Files.delete(vocabulary);
        refused(file, "vocab.txt", "found nothing", "--processor");
        Files.writeString(vocabulary, words);

        Path config = folder.resolve("med_config.json");
        String text = Files.readString(config);
        Files.writeString(config, text.replace("\"gelu\"", "\"relu\""));
        refused(file, "hidden_act: expected gelu", "\"relu\"");
        Files.writeString(config, text.replaceFirst("\"num_attention_heads\": ?4", "\"num_attention_heads\": 5"));
        refused(file, "num_attention_heads: expected a divisor of hidden_size (48), found 5");
        Files.delete(config);
        refused(file, "a width that is a multiple of 64, or med_config.json with the heads, found 48");
    }
}
