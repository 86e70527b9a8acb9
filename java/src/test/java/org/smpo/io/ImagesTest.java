package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.smpo.io.ImageException.Reason;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Decoded pictures are those of Pillow, and files that Pillow refuses are refused (`tools/golden/decode.py`).
class ImagesTest {
    /// Decoders differ in how they interpolate colour between samples that stand for two or four pixels.
    private static final Set<String> OTHER_INTERPOLATION =
            Set.of("webp lossy", "webp lossy large", "webp lossy alpha", "jpeg 440");

    private static JsonNode golden() throws IOException {
        try (var in = ImagesTest.class.getResourceAsStream("decode/decode.json")) {
            return JsonMapper.shared().readTree(in.readAllBytes());
        }
    }

    private static byte[] bytes(JsonNode item, String field) {
        return Base64.getDecoder().decode(item.get(field).asString());
    }

    private static byte[] file(String name) throws IOException {
        for (JsonNode item : golden()) {
            if (item.get("name").asString().equals(name)) {
                return bytes(item, "file");
            }
        }
        throw new IllegalArgumentException(name);
    }

    /// Largest and mean absolute difference.
    private static double[] difference(byte[] found, byte[] expected) {
        assertThat(found).hasSameSizeAs(expected);
        int largest = 0;
        long sum = 0;
        for (int i = 0; i < found.length; i++) {
            int difference = Math.abs((found[i] & 0xff) - (expected[i] & 0xff));
            largest = Math.max(largest, difference);
            sum += difference;
        }
        return new double[] {largest, (double) sum / found.length};
    }

    @Test
    void picturesEqualThoseOfPillow() throws IOException {
        int equal = 0;
        for (JsonNode item : golden()) {
            String name = item.get("name").asString();
            if (!item.has("rgb")) {
                continue;
            }
            RgbImage image = Images.decode(name, bytes(item, "file"));
            assertThat(image.width()).as(name).isEqualTo(item.get("size").get(0).asInt());
            assertThat(image.height())
                    .as(name)
                    .isEqualTo(item.get("size").get(1).asInt());
            double[] difference = difference(image.rgb(), bytes(item, "rgb"));
            if (OTHER_INTERPOLATION.contains(name)) {
                // Noise in colour is the worst case; in brightness there is no difference.
                assertThat(difference[1]).as(name).isBetween(0.01, 6.0);
            } else {
                assertThat(difference[0]).as(name).isZero();
                equal++;
            }
        }
        assertThat(equal).isEqualTo(37);
    }

    @Test
    void theComparisonCanFail() throws IOException {
        byte[] rgb = Images.decode("png", file("png rgb")).rgb();
        byte[] other = rgb.clone();
        other[100] ^= 1;
        assertThat(difference(other, rgb)[0]).isEqualTo(1);
    }

    @Test
    void filesThatPillowRefusesAreRefused() throws IOException {
        Map<String, Reason> reasons = Map.of(
                "nothing", Reason.EMPTY,
                "text", Reason.FORMAT,
                "a page", Reason.FORMAT,
                "png with a flipped bit in its header", Reason.CORRUPT,
                "png without data", Reason.CORRUPT,
                "png of no width", Reason.CORRUPT,
                "png of 3 bits", Reason.CORRUPT,
                "png that claims 60000 x 60000", Reason.TOO_LARGE,
                "jpeg that claims 65000 x 65000", Reason.TOO_LARGE);
        int refused = 0;
        for (JsonNode item : golden()) {
            if (!item.has("error")) {
                continue;
            }
            String name = item.get("name").asString();
            byte[] file = bytes(item, "file");
            assertThatThrownBy(() -> Images.decode(name, file))
                    .as(name)
                    .isInstanceOf(ImageException.class)
                    .hasMessageStartingWith(name + ": expected ")
                    .extracting(e -> ((ImageException) e).reason())
                    .isEqualTo(reasons.getOrDefault(name, Reason.TRUNCATED));
            refused++;
        }
        assertThat(refused).isEqualTo(19);
    }

    @Test
    void headersAreReadWithoutDecoding() throws IOException {
        assertThat(Images.header("x", file("png interlaced"))).isEqualTo(new Images.Header(Images.Format.PNG, 17, 11));
        assertThat(Images.header("x", file("jpeg 420 large")))
                .isEqualTo(new Images.Header(Images.Format.JPEG, 131, 97));
        assertThat(Images.header("x", file("webp lossy large")))
                .isEqualTo(new Images.Header(Images.Format.WEBP, 131, 97));
        assertThat(Images.header("x", file("webp lossless"))).isEqualTo(new Images.Header(Images.Format.WEBP, 43, 30));
        assertThat(Images.header("x", file("jpeg that claims 65000 x 65000")).width())
                .isEqualTo(65000);
    }

    @Test
    void moreThanTheAllowedPixelsAreRefusedBeforeDecoding() throws IOException {
        byte[] file = file("png rgb");
        assertThat(Images.decode("x", file, 43 * 30).width()).isEqualTo(43);
        assertThatThrownBy(() -> Images.decode("x", file, 43 * 30 - 1)).hasMessageContaining("at most 1289 pixels");
    }

    /// Every cut of a file, and many changed bytes, end in a picture or in an ImageException, never in anything
    /// else.
    @Test
    void hostileFilesEndInAMessage() throws IOException {
        long refused = 0;
        for (String name : List.of(
                "png palette",
                "png interlaced",
                "jpeg 420",
                "jpeg 420 progressive",
                "webp lossy",
                "webp lossless alpha")) {
            byte[] file = file(name);
            for (int length = 0; length < file.length; length += 1 + length / 40) {
                refused += refused(Arrays.copyOf(file, length));
            }
            Philox random = new Philox(5);
            for (int i = 0; i < 150; i++) {
                byte[] changed = file.clone();
                PhiloxStream stream = random.stream(Purpose.BOOTSTRAP, 0, i);
                for (int k = 0; k < 3; k++) {
                    changed[stream.nextInt(i < 75 ? Math.min(60, file.length) : file.length)] =
                            (byte) stream.nextInt(256);
                }
                refused += refused(changed);
            }
        }
        assertThat(refused).isGreaterThan(500);
    }

    private static int refused(byte[] file) {
        try {
            Images.decode("hostile", file, 1 << 22);
            return 0;
        } catch (ImageException e) {
            assertThat(e).hasMessageContaining("hostile: expected ");
            return 1;
        }
    }
}
