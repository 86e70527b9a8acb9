package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.HexFormat;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Resized and cropped images equal those of Pillow and torchvision (`tools/golden/resample.py`).
class ResampleTest {
    private static JsonNode golden() throws IOException {
        try (var in = ResampleTest.class.getResourceAsStream("resample/resample.json")) {
            return JsonMapper.shared().readTree(in.readAllBytes());
        }
    }

    /// The formulas of tools/golden/resample.py.
    private static RgbImage image(String kind, int width, int height) {
        byte[] rgb = new byte[3 * width * height];
        int at = 0;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                for (int c = 0; c < 3; c++) {
                    rgb[at++] = (byte)
                            switch (kind) {
                                case "noise" ->
                                    (x * 2654435761L + y * 2246822519L + c * 3266489917L + (long) x * y * 668265263L)
                                            >> 24;
                                case "ramp" -> 3L * x + 5L * y + 85L * c;
                                case "board" -> 255L * ((x / 3 + y / 5 + c) & 1);
                                default -> throw new IllegalArgumentException(kind);
                            };
                }
            }
        }
        return RgbImage.of(width, height, rgb);
    }

    private static boolean equal(RgbImage image, JsonNode expected) {
        return image.width() == expected.get("size").get(0).asInt()
                && image.height() == expected.get("size").get(1).asInt()
                && Digest.sha256(image.rgb()).equals(expected.get("sha256").asString());
    }

    private static String shown(RgbImage image, JsonNode expected) {
        int length = Math.min(24, image.rgb().length);
        return expected + "\nfound " + image + " " + HexFormat.of().formatHex(image.rgb(), 0, length);
    }

    private static RgbImage resized(JsonNode item) {
        JsonNode source = item.get("source");
        return Resample.resize(
                image(
                        item.get("kind").asString(),
                        source.get(0).asInt(),
                        source.get(1).asInt()),
                item.get("size").get(0).asInt(),
                item.get("size").get(1).asInt(),
                Resample.Filter.valueOf(item.get("filter").asString().toUpperCase(Locale.ROOT)));
    }

    @Test
    void bytesEqualThoseOfPillow() throws IOException {
        JsonNode items = golden().get("resized");
        assertThat(items.size()).isEqualTo(126);
        for (JsonNode item : items) {
            RgbImage image = resized(item);
            assertThat(equal(image, item)).as(() -> shown(image, item)).isTrue();
        }
    }

    @Test
    void scaledAndCroppedImagesEqualThoseOfTorchvision() throws IOException {
        for (JsonNode item : golden().get("pipelines")) {
            int side = item.get("side").asInt();
            RgbImage scaled = Resample.shorterSide(
                    image(
                            "noise",
                            item.get("source").get(0).asInt(),
                            item.get("source").get(1).asInt()),
                    side,
                    Resample.Filter.BILINEAR);
            assertThat(equal(scaled, item.get("scaled")))
                    .as(() -> shown(scaled, item.get("scaled")))
                    .isTrue();
            RgbImage cropped = scaled.crop(
                    RgbImage.centreCropStart(scaled.width(), side),
                    RgbImage.centreCropStart(scaled.height(), side),
                    side,
                    side);
            assertThat(equal(cropped, item.get("cropped")))
                    .as(() -> shown(cropped, item.get("cropped")))
                    .isTrue();
        }
    }

    /// Detects a pixel that is off by one, and the other filter.
    @Test
    void theComparisonCanFail() throws IOException {
        JsonNode item = golden().get("resized").get(60);
        RgbImage image = resized(item);
        byte[] rgb = image.rgb();
        rgb[rgb.length / 2] ^= 1;
        assertThat(equal(image, item)).isTrue();
        assertThat(equal(RgbImage.of(image.width(), image.height(), rgb), item)).isFalse();
        RgbImage source = image("noise", 101, 67);
        assertThat(Resample.resize(source, 37, 23, Resample.Filter.BICUBIC))
                .isNotEqualTo(Resample.resize(source, 37, 23, Resample.Filter.BILINEAR));
    }

    @Test
    void sizesThatCannotBeAreRefused() {
        RgbImage image = image("ramp", 4, 2);
        assertThatThrownBy(() -> Resample.resize(image, 0, 2, Resample.Filter.BILINEAR))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("4x2 to 0x2");
        assertThatThrownBy(() -> Resample.resize(image, 1 << 20, 1 << 20, Resample.Filter.BILINEAR))
                .hasMessageContaining("2^31 - 1 bytes");
        assertThatThrownBy(() -> Resample.shorterSide(image, Integer.MAX_VALUE, Resample.Filter.BILINEAR))
                .hasMessageContaining("shorter side");
        assertThatThrownBy(() -> image.crop(1, 0, 4, 2)).hasMessageContaining("4x2 at (1, 0)");
        assertThatThrownBy(() -> image.crop(0, 0, 0, 2)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> RgbImage.centreCropStart(3, 4)).hasMessageContaining("1 to 3");
    }

    @Test
    void mirroringTwiceGivesTheSameImage() {
        RgbImage image = image("noise", 5, 3);
        RgbImage mirror = image.mirrored();
        assertThat(mirror.crop(0, 2, 1, 1)).isEqualTo(image.crop(4, 2, 1, 1));
        assertThat(mirror).isNotEqualTo(image);
        assertThat(mirror.mirrored()).isEqualTo(image);
    }
}
