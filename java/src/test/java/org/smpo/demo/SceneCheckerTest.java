package org.smpo.demo;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// How often the checker is right about painted images: unchanged, blurred, and noisy.
final class SceneCheckerTest {
    /// The rates have a resolution of 1 in 400.
    private static final int SCENES = Integer.getInteger("smpo.test.scenes", 400);
    private static final int SIDE = ScenePainter.SIDE;

    private static final Philox PHILOX = new Philox(2026);

    /// Fractions of images.
    private record Rates(double accepted, double located, Map<Attribute, Double> rejected) {}

    private static Rates measure(String name, BiFunction<RgbImage, Integer, RgbImage> spoiled) {
        int accepted = 0;
        int located = 0;
        int singles = 0;
        Map<Attribute, int[]> rejected = new EnumMap<>(Attribute.class);
        for (int item = 0; item < SCENES; item++) {
            PreferencePairs.Pair pair = PreferencePairs.draw(PHILOX, item);
            accepted += SceneChecker.check(spoiled.apply(pair.right(), item), pair.scene())
                            .right()
                    ? 1
                    : 0;
            Set<Attribute> wrong = SceneChecker.check(spoiled.apply(pair.other(), item), pair.scene())
                    .wrong();
            Set<Attribute> changed = pair.wrong().attributes();
            for (Attribute attribute : changed) {
                int[] counts = rejected.computeIfAbsent(attribute, none -> new int[2]);
                counts[0] += wrong.isEmpty() ? 0 : 1;
                counts[1]++;
            }
            if (changed.size() == 1) {
                singles++;
                located += wrong.containsAll(changed) ? 1 : 0;
            }
        }
        Map<Attribute, Double> rates = new EnumMap<>(Attribute.class);
        rejected.forEach((attribute, counts) -> rates.put(attribute, counts[0] / (double) counts[1]));
        Rates measured = new Rates(accepted / (double) SCENES, located / (double) singles, rates);
        System.out.printf(Locale.ROOT, "%s: %s%n", name, measured);
        return measured;
    }

    private static void assertRates(Rates rates, double accepted, double rejected) {
        assertThat(rates.accepted).isGreaterThanOrEqualTo(accepted);
        assertThat(rates.located).isGreaterThanOrEqualTo(rejected);
        assertThat(rates.rejected)
                .hasSize(Attribute.values().length)
                .allSatisfy((attribute, rate) -> assertThat(rate).isGreaterThanOrEqualTo(rejected));
    }

    @Test
    void paintedImages() {
        assertRates(measure("drawn", (image, item) -> image), 0.995, 0.99);
    }

    @Test
    void blurredImages() {
        assertRates(measure("blurred", (image, item) -> blurred(image)), 0.98, 0.98);
    }

    @Test
    void noisyImages() {
        assertRates(measure("noisy", (image, item) -> noisy(image, item, 8)), 0.98, 0.98);
    }

    @Test
    void blurredAndNoisyImages() {
        assertRates(measure("blurred and noisy", (image, item) -> noisy(blurred(image), item, 8)), 0.98, 0.98);
    }

    /// Images without any scene are rejected, and the rates above reflect that.
    @Test
    void imagesWithoutASceneAreWrong() {
        Rates empty = measure("empty", (image, item) -> noisy(grey(), item, 8));
        assertThat(empty.accepted).isZero();
        assertThatThrownBy(() -> assertRates(empty, 0.98, 0.98)).isInstanceOf(AssertionError.class);
        Rates same = measure(
                "mirrored and swapped",
                (image, item) -> PreferencePairs.draw(PHILOX, item).right());
        assertThatThrownBy(() -> assertRates(same, 0.98, 0.98)).isInstanceOf(AssertionError.class);
    }

    @Test
    void findingsNameWhatIsWrong() {
        RgbImage image = ScenePainter.paint(Scene.parse("a red circle left of a blue square"), PHILOX, 0, 1);
        assertWrong(image, "a red circle left of a blue square");
        assertWrong(image, "a blue square right of a red circle");
        assertWrong(image, "a red circle right of a blue square", Attribute.RELATION);
        assertWrong(image, "a red circle above a blue square", Attribute.RELATION);
        assertWrong(image, "a red ring left of a blue square", Attribute.SHAPE);
        assertWrong(image, "a red circle left of a green square", Attribute.COLOUR);
        assertWrong(image, "three red circles", Attribute.COUNT, Attribute.COLOUR, Attribute.SHAPE);
        assertWrong(image, "two red circles", Attribute.COLOUR, Attribute.SHAPE);
        RgbImage large = ScenePainter.paint(Scene.parse("a large green ring"), PHILOX, 0, 1);
        assertWrong(large, "a large green ring");
        assertWrong(large, "a small green ring", Attribute.SIZE);
        assertWrong(large, "a small green circle", Attribute.SIZE, Attribute.SHAPE);
        assertWrong(large, "two green rings", Attribute.COUNT);
        assertThatThrownBy(() -> SceneChecker.check(large.crop(0, 0, 32, 64), Scene.parse("a large green ring")))
                .hasMessageContaining("got 32x64");
    }

    private static void assertWrong(RgbImage image, String caption, Attribute... wrong) {
        assertThat(SceneChecker.check(image, Scene.parse(caption)).wrong())
                .as(caption)
                .containsExactlyInAnyOrder(wrong);
    }

    private static RgbImage grey() {
        byte[] rgb = new byte[3 * SIDE * SIDE];
        java.util.Arrays.fill(rgb, (byte) 236);
        return RgbImage.of(SIDE, SIDE, rgb);
    }

    /// Returns the mean of each pixel and its neighbours.
    private static RgbImage blurred(RgbImage image) {
        byte[] from = image.rgb();
        byte[] to = new byte[from.length];
        for (int y = 0; y < SIDE; y++) {
            for (int x = 0; x < SIDE; x++) {
                for (int channel = 0; channel < 3; channel++) {
                    int sum = 0;
                    for (int dy = -1; dy <= 1; dy++) {
                        for (int dx = -1; dx <= 1; dx++) {
                            int row = Math.clamp(y + dy, 0, SIDE - 1);
                            int column = Math.clamp(x + dx, 0, SIDE - 1);
                            sum += from[3 * (row * SIDE + column) + channel] & 0xff;
                        }
                    }
                    to[3 * (y * SIDE + x) + channel] = (byte) (sum / 9);
                }
            }
        }
        return RgbImage.of(SIDE, SIDE, to);
    }

    /// Adds approximately normal noise to each channel: sums of four uniform numbers.
    private static RgbImage noisy(RgbImage image, int item, double sigma) {
        PhiloxStream random = PHILOX.stream(Purpose.FORWARD_NOISE, 0, item);
        byte[] rgb = image.rgb();
        for (int i = 0; i < rgb.length; i++) {
            double sum = 0;
            for (int j = 0; j < 2; j++) {
                int word = random.nextWord();
                sum += ((word & 0xffff) + (word >>> 16)) * 0x1p-16;
            }
            // Four uniform numbers have the mean 2 and the variance 1/3.
            double normal = (sum - 2) * Math.sqrt(3);
            rgb[i] = (byte) Math.clamp(Math.round((rgb[i] & 0xff) + sigma * normal), 0, 255);
        }
        return RgbImage.of(SIDE, SIDE, rgb);
    }
}
