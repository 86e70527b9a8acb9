package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.FloatTensor;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipModel;
import org.smpo.network.ClipProcessor;
import org.smpo.network.TinyClip;
import org.smpo.objective.HeadFeatures;

/// Rewards of kind `head`: their files and their scores.
final class FittedHeadTest {
    @TempDir
    private Path temporary;

    private Path model() throws IOException {
        return TinyClip.write(temporary.resolve("model"), "vit_h", 1);
    }

    private static float[] ramp(int size) {
        float[] values = new float[size];
        for (int i = 0; i < size; i++) {
            values[i] = (float) Math.sin(i + 0.5);
        }
        return values;
    }

    private FittedHead head(Path model, HeadFeatures features, OptionalDouble temperature, int width)
            throws IOException {
        RewardSource base = RewardSource.parse("clip:" + model);
        return new FittedHead(
                base,
                base.digest(),
                features,
                temperature,
                FloatTensor.of(ramp(width), width),
                0.25f,
                Map.of("l2", 1.0));
    }

    @Test
    void aHeadScoresWhatItsFormulaSays() throws IOException {
        Path model = model();
        List<RgbImage> images = List.copyOf(TinyClip.images().values());
        List<String> captions =
                images.stream().map(image -> "caption of " + image.width()).toList();
        double[][] embedded;
        double[][] texts;
        try (ClipModel clip = ClipModel.open(model, ClipProcessor.of(model), "cpu", Precision.FP32, 1)) {
            embedded = clip.embedImages(images);
            texts = clip.embedTexts(captions);
        }
        int d = embedded[0].length;
        for (HeadFeatures features : HeadFeatures.values()) {
            for (OptionalDouble temperature : List.of(OptionalDouble.of(0.05), OptionalDouble.empty())) {
                boolean both = features == HeadFeatures.BOTH;
                int width = both ? 2 * d : d;
                Path folder = temporary.resolve("head-" + features.id() + temperature.isPresent());
                head(model, features, temperature, width).write(folder);
                RewardSource source = RewardSource.parse(folder.toString());
                assertThat(source.kind()).isEqualTo(RewardKind.HEAD);
                try (Reward reward = source.open("cpu", Precision.FP32, 1)) {
                    assertThat(reward.kind()).isEqualTo("head");
                    assertThat(reward.digest()).isEqualTo(source.digest());
                    assertThat(reward.preprocessing()).isEqualTo(source.preprocessing(Precision.FP32));
                    double[] scores = reward.score(captions, images);
                    for (int row = 0; row < scores.length; row++) {
                        double expected = 0.25;
                        double cosine = 0;
                        for (int i = 0; i < d; i++) {
                            double product = texts[row][i] * embedded[row][i];
                            cosine += product;
                            expected += both ? Math.sqrt(d) * ramp(width)[i] * product : 0;
                            expected += Math.sqrt(d) * ramp(width)[both ? d + i : i] * embedded[row][i];
                        }
                        expected += temperature.isPresent() ? cosine / 0.05 : 0;
                        assertThat(scores[row]).isCloseTo(expected, within(1e-5));
                    }
                }
            }
        }
    }

    @Test
    void theDigestIsOfEverythingThatDecidesAScore() throws IOException {
        Path model = model();
        int width = 2 * 8;
        String digest =
                head(model, HeadFeatures.BOTH, OptionalDouble.of(0.01), width).digest();
        assertThat(head(model, HeadFeatures.BOTH, OptionalDouble.of(0.02), width)
                        .digest())
                .isNotEqualTo(digest);
        assertThat(head(model, HeadFeatures.BOTH, OptionalDouble.empty(), width).digest())
                .isNotEqualTo(digest);
        assertThat(head(model, HeadFeatures.IMAGE, OptionalDouble.of(0.01), width)
                        .digest())
                .isNotEqualTo(digest);
        FittedHead same = head(model, HeadFeatures.BOTH, OptionalDouble.of(0.01), width);
        assertThat(same.digest()).isEqualTo(digest);
        same.weight().values()[3] += 1;
        assertThat(same.digest()).isNotEqualTo(digest);
    }

    @Test
    void damagedAndForeignHeadsAreRefused() throws IOException {
        Path model = model();
        Path folder = temporary.resolve("head");
        head(model, HeadFeatures.BOTH, OptionalDouble.of(0.01), 4).write(folder);
        assertThatThrownBy(() -> RewardSource.parse(folder.toString()).open("cpu", Precision.FP32, 1))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("expected a head for")
                .hasMessageContaining("found one for 4; fit the head again");
        String json = Files.readString(folder.resolve(FittedHead.FILE));
        refuse(folder, json.replace("\"clip\"", "\"aesthetic\""), "base: reward");
        refuse(folder, json.replace("\"clip\"", "\"head\""), "base: reward");
        refuse(folder, json.replace("\"both\"", "\"all\""), "features: expected both or image, found all");
        refuse(folder, json.replace("0.01", "-1"), "temperature: expected a number above 0, found -1");
        refuse(
                folder,
                json.replace("\"smpo.format\": 1", "\"smpo.format\": 2"),
                "expected kind head and smpo.format 1");
        refuse(folder, json.replace(model.toString(), model + "-gone"), "base.path: expected the CLIP model");
        refuse(
                folder,
                json.replaceFirst("\"digest\": \"[0-9a-f]{8}", "\"digest\": \"00000000"),
                "to which the head was fitted, found");
        Files.writeString(folder.resolve(FittedHead.FILE), json);
        FloatTensor.writeAll(
                folder.resolve("head.safetensors"), Map.of("weight", FloatTensor.of(ramp(4), 4)), Map.of());
        assertThatThrownBy(() -> FittedHead.read(folder, Optional.empty()))
                .hasMessageContaining("expected finite tensors weight [features] and bias [1], found {weight=[4]}");
        float[] broken = ramp(4);
        broken[1] = Float.NaN;
        FloatTensor.writeAll(
                folder.resolve("head.safetensors"),
                Map.of("weight", FloatTensor.of(broken, 4), "bias", FloatTensor.of(ramp(1), 1)),
                Map.of());
        assertThatThrownBy(() -> FittedHead.read(folder, Optional.empty())).hasMessageContaining("not finite");
    }

    private static void refuse(Path folder, String json, String message) throws IOException {
        Files.writeString(folder.resolve(FittedHead.FILE), json);
        assertThatThrownBy(() -> RewardSource.parse(folder.toString()).digest())
                .isInstanceOf(IOException.class)
                .hasMessageContaining(message);
    }
}
