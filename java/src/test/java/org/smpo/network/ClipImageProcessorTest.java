package org.smpo.network;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.PixelSpec;
import org.smpo.io.ByteView;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Resample;
import org.smpo.io.RgbImage;
import org.smpo.io.Safetensors;
import org.smpo.io.TensorEntry;

/// Pixel values against those of transformers' `CLIPImageProcessorPil`.
final class ClipImageProcessorTest {
    @Test
    void pixelValuesAreTransformersToTheBit() throws IOException {
        JsonObject processors = TinyClip.golden().object("processors");
        Map<String, RgbImage> images = TinyClip.images();
        int compared = 0;
        try (Safetensors golden = TinyClip.pixelValues()) {
            for (TensorEntry entry : golden.entries()) {
                String[] names = entry.name().split("\\.", 2);
                ClipImageProcessor processor = ClipImageProcessor.parse(processors.object(names[0]));
                float[] want = new float[Math.toIntExact(entry.length() / Float.BYTES)];
                ByteView.of(golden, entry).buffer().asFloatBuffer().get(want);
                RgbImage image = images.get(names[1]);
                // assertThat(float[]) would print both arrays.
                assertThat(Arrays.equals(processor.apply(image), want))
                        .as(entry.name())
                        .isTrue();
                compared++;
                byte[] rgb = image.rgb();
                int middle = 3 * (image.height() / 2 * image.width() + image.width() / 2);
                rgb[middle] = (byte) (rgb[middle] ^ 0x40);
                RgbImage other = RgbImage.of(image.width(), image.height(), rgb);
                assertThat(Arrays.equals(processor.apply(other), want))
                        .as("one pixel of %s is another", entry.name())
                        .isFalse();
            }
        }
        assertThat(compared).isEqualTo(14);
    }

    /// ImageReward's pixel values against torchvision's (tools/golden/imagereward.py), where a crop of an odd
    /// rest begins half a pixel to the even side.
    @Test
    void theCropIsTorchvisions() throws IOException {
        JsonObject golden = TinyBlip.golden();
        ClipImageProcessor processor = ClipImageProcessor.torchvision((int) golden.integer("side"));
        ClipImageProcessor transformers = new ClipImageProcessor(
                new ClipImageProcessor.ShortestEdge(processor.height()),
                processor.filter(),
                processor.cropHeight(),
                processor.cropWidth(),
                processor.rescaleFactor(),
                processor.mean(),
                processor.std());
        int differ = 0;
        int compared = 0;
        try (Safetensors pixels = Safetensors.open(TinyBlip.pixels())) {
            for (Map.Entry<String, RgbImage> image :
                    TinyClip.images(golden, "images").entrySet()) {
                float[] want = new float[3 * processor.height() * processor.width()];
                ByteView.of(pixels, pixels.entry(image.getKey()))
                        .buffer()
                        .asFloatBuffer()
                        .get(want);
                assertThat(largest(processor.apply(image.getValue()), want))
                        .as(image.getKey())
                        .isLessThan(1e-6);
                differ += largest(transformers.apply(image.getValue()), want) > 1e-3 ? 1 : 0;
                compared++;
            }
        }
        assertThat(compared).isEqualTo(7);
        assertThat(differ).isPositive();
        assertThat(processor.describe()).contains("shortest_edge 48 as torchvision");
        assertThat(processor.describe()).isNotEqualTo(transformers.describe());
    }

    /// The differentiable preprocessing is that of HPSv2, which rounds nothing, to the last bits; and that of
    /// 8-bit pixels up to their rounding, for images whose contrast is so low that nothing overshoots 0..255.
    ///
    /// Each of two passes rounds by half a level. The second one's weights, whose absolute values sum to at most
    /// 1.25, enlarge what the first one rounded: 1.125 levels.
    @Test
    void inFloatTheValuesAreTheSameUpToRounding() throws IOException {
        Map<String, RgbImage> images = TinyClip.images(TinyClip.rewards(), "images");
        List<Double> mean = ClipImageProcessor.openAi().mean();
        List<Double> std = ClipImageProcessor.openAi().std();
        List<ClipImageProcessor> processors = List.of(
                ClipImageProcessor.longestSide(42),
                ClipImageProcessor.torchvision(41),
                new ClipImageProcessor(
                        new ClipImageProcessor.ShortestEdge(40), Resample.Filter.BICUBIC, 37, 39, 1.0 / 255, mean, std),
                new ClipImageProcessor(
                        new ClipImageProcessor.ShortestEdge(20), Resample.Filter.BICUBIC, 25, 27, 1.0 / 255, mean, std),
                new ClipImageProcessor(
                        new ClipImageProcessor.Exact(30, 21), Resample.Filter.BILINEAR, 0, 0, 1.0 / 255, mean, std),
                new ClipImageProcessor(
                        new ClipImageProcessor.NoResize(), Resample.Filter.BICUBIC, 16, 15, 1.0 / 255, mean, std));
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1))) {
            for (ClipImageProcessor processor : processors) {
                boolean exact = processor.describe().startsWith("clip float");
                double level = 1 / 255.0 / Collections.min(processor.std());
                for (RgbImage given : images.values()) {
                    RgbImage image = exact ? given : halfContrast(given);
                    byte[] rgb = image.rgb();
                    float[] pixels = new float[rgb.length];
                    int area = image.width() * image.height();
                    for (int i = 0; i < pixels.length; i++) {
                        pixels[i] = (rgb[3 * (i % area) + i / area] & 0xff) / 127.5f - 1;
                    }
                    PixelSpec spec = processor.differentiable(image.height(), image.width());
                    try (DeviceTensor input = engine.fromHost(pixels, 1, 3, image.height(), image.width());
                            DeviceTensor values = spec.values(input)) {
                        assertThat(largest(values.toFloats(), processor.apply(image)))
                                .as(processor.describe() + ", " + image)
                                .isLessThan(exact ? 3e-6 : 1.13 * level);
                    }
                }
            }
        }
    }

    /// Pillow cuts off what a filter's lobes overshoot; the differentiable preprocessing keeps it.
    @Test
    void inFloatOvershootIsKept() {
        byte[] rgb = new byte[3 * 20 * 20];
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (i / 3 % 20 < 10 ? 0 : 255);
        }
        RgbImage edge = RgbImage.of(20, 20, rgb);
        ClipImageProcessor processor = new ClipImageProcessor(
                new ClipImageProcessor.ShortestEdge(40),
                Resample.Filter.BICUBIC,
                40,
                40,
                1.0 / 255,
                List.of(0.0, 0.0, 0.0),
                List.of(1.0, 1.0, 1.0));
        float[] pixels = new float[rgb.length];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = i % 20 < 10 ? -1 : 1;
        }
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
                DeviceTensor input = engine.fromHost(pixels, 1, 3, 20, 20);
                DeviceTensor values = processor.differentiable(20, 20).values(input)) {
            float[] found = values.toFloats();
            float[] cut = processor.apply(edge);
            assertThat(largest(found, cut)).isGreaterThan(0.05);
            for (int i = 0; i < found.length; i++) {
                found[i] = Math.clamp(found[i], 0f, 1f);
            }
            assertThat(largest(found, cut)).isLessThan(1.13 / 255);
        }
    }

    private static RgbImage halfContrast(RgbImage image) {
        byte[] rgb = image.rgb();
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (64 + (rgb[i] & 0xff) / 2);
        }
        return RgbImage.of(image.width(), image.height(), rgb);
    }

    /// HPSv2's pixel values against torchvision's (tools/golden/rewards.py).
    @Test
    void theLongerSideIsResizedAndTheRestIsBlack() throws IOException {
        JsonObject golden = TinyClip.rewards();
        ClipImageProcessor processor = ClipImageProcessor.longestSide((int) golden.integer("side"));
        int compared = 0;
        try (Safetensors pixels = TinyClip.rewardPixels()) {
            for (Map.Entry<String, RgbImage> image :
                    TinyClip.images(golden, "images").entrySet()) {
                float[] want = new float[3 * processor.height() * processor.width()];
                ByteView.of(pixels, pixels.entry("hpsv2." + image.getKey()))
                        .buffer()
                        .asFloatBuffer()
                        .get(want);
                assertThat(largest(processor.apply(image.getValue()), want))
                        .as(image.getKey())
                        .isLessThan(2e-6);
                byte[] rgb = image.getValue().rgb();
                rgb[rgb.length / 2] = (byte) (rgb[rgb.length / 2] ^ 0x40);
                RgbImage other =
                        RgbImage.of(image.getValue().width(), image.getValue().height(), rgb);
                assertThat(largest(processor.apply(other), want))
                        .as("one value of %s is another", image.getKey())
                        .isGreaterThan(2e-6);
                compared++;
            }
        }
        assertThat(compared).isEqualTo(6);
        assertThat(processor.describe()).startsWith("clip float antialiased; resize longest_edge 42 padded bicubic");
    }

    private static double largest(float[] found, float[] want) {
        assertThat(found).hasSameSizeAs(want);
        double largest = 0;
        for (int i = 0; i < want.length; i++) {
            largest = Math.max(largest, Math.abs(found[i] - want[i]));
        }
        return largest;
    }

    @Test
    void absentKeysAreTheClassDefaults() throws IOException {
        assertThat(parse("{}")).isEqualTo(ClipImageProcessor.openAi());
        assertThat(parse("{\"size\": 224, \"crop_size\": 224, \"resample\": 3, \"do_resize\": null}"))
                .isEqualTo(ClipImageProcessor.openAi());
        assertThat(ClipImageProcessor.openAi().describe())
                .isEqualTo("clip pil-8bit; resize shortest_edge 224 bicubic; crop 224x224; rescale 0.00392156862745098;"
                        + " mean [0.48145466, 0.4578275, 0.40821073]; std [0.26862954, 0.26130258, 0.27577711]");
    }

    @Test
    void whatItDoesNotDoIsAnError(@TempDir Path folder) {
        assertThatThrownBy(() -> parse("{\"resample\": 1}"))
                .hasMessageContaining("resample: expected 2 (bilinear) or 3 (bicubic), found 1");
        assertThatThrownBy(() -> parse("{\"size\": {\"longest_edge\": 10}}")).hasMessageContaining("shortest_edge");
        assertThatThrownBy(() -> parse("{\"size\": 0}")).hasMessageContaining("size: expected 1 to 16384, found 0");
        assertThatThrownBy(() -> parse("{\"image_std\": [0, 1, 1]}")).hasMessageContaining("image_std");
        assertThatThrownBy(() -> parse("{\"image_mean\": [0.5, 1]}")).hasMessageContaining("3 numbers");
        assertThatThrownBy(() -> parse("{\"do_pad\": true}")).hasMessageContaining("do_pad");
        assertThatThrownBy(() -> parse("{\"image_processor_type\": \"SiglipImageProcessor\"}"))
                .hasMessageContaining("SiglipImageProcessor");
        assertThatThrownBy(() -> ClipImageProcessor.open(folder)).hasMessageContaining("preprocessor_config.json");
    }

    private static ClipImageProcessor parse(String json) throws IOException {
        return ClipImageProcessor.parse(Json.parseObject("preprocessor_config.json", json));
    }
}
