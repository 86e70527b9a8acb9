package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.smpo.io.ImageException.Reason;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Decoded images equal those of Pillow, and files that Pillow refuses are refused
/// (`tools/golden/decode.py`).
class ImagesTest {
    /// Decoders differ in how they interpolate colour between samples that stand for two or four pixels.
    private static final Set<String> OTHER_INTERPOLATION =
            Set.of("webp lossy", "webp lossy large", "webp lossy alpha", "jpeg 440");

    private static JsonNode golden() throws IOException {
        return golden("decode");
    }

    private static JsonNode golden(String name) throws IOException {
        try (var in = ImagesTest.class.getResourceAsStream("decode/" + name + ".json")) {
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

    /// Returns the largest and the mean absolute difference.
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
    void imagesEqualThoseOfPillow() throws IOException {
        int equal = 0;
        for (JsonNode item : golden()) {
            String name = item.get("name").asString();
            if (!item.has("rgb")) {
                continue;
            }
            RgbImage image = decode(name, bytes(item, "file"));
            assertThat(image.width()).as(name).isEqualTo(item.get("size").get(0).asInt());
            assertThat(image.height())
                    .as(name)
                    .isEqualTo(item.get("size").get(1).asInt());
            double[] difference = difference(image.rgb(), bytes(item, "rgb"));
            if (OTHER_INTERPOLATION.contains(name)) {
                // Noise in the chroma channels is the worst case; luma does not differ.
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
        byte[] rgb = decode("png", file("png rgb")).rgb();
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
            assertThatThrownBy(() -> decode(name, file))
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
        assertThat(header("x", file("png interlaced"))).isEqualTo(new Images.Header(Images.Format.PNG, 17, 11));
        assertThat(header("x", file("jpeg 420 large"))).isEqualTo(new Images.Header(Images.Format.JPEG, 131, 97));
        assertThat(header("x", file("webp lossy large"))).isEqualTo(new Images.Header(Images.Format.WEBP, 131, 97));
        assertThat(header("x", file("webp lossless"))).isEqualTo(new Images.Header(Images.Format.WEBP, 43, 30));
        assertThat(header("x", file("jpeg that claims 65000 x 65000")).width()).isEqualTo(65000);
    }

    @Test
    void moreThanTheAllowedPixelsAreRefusedBeforeDecoding() throws IOException {
        byte[] file = file("png rgb");
        assertThat(Images.decode("x", file, 43 * 30, Rendering.PILLOW).width()).isEqualTo(43);
        assertThatThrownBy(() -> Images.decode("x", file, 43 * 30 - 1, Rendering.PILLOW))
                .hasMessageContaining("at most 1289 pixels");
    }

    /// A file that is cut or changed anywhere yields an image or an ImageException, never another
    /// failure.
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

    /// A JPEG file with more scans than any encoder writes, just within and just beyond the limit.
    @Test
    void jpegScansAreBounded() throws IOException {
        byte[] file = file("jpeg 420 progressive");
        for (int more : new int[] {90, 200}) {
            byte[] scan = {(byte) 0xff, (byte) 0xda, 0, 8, 1, 1, 0, 0, 0, 0};
            ByteBuffer many =
                    ByteBuffer.allocate(file.length + more * scan.length).put(file, 0, file.length - 2);
            for (int i = 0; i < more; i++) {
                many.put(scan);
            }
            many.put(file, file.length - 2, 2);
            if (more < 100) {
                assertThat(header("many", many.array()).width()).isEqualTo(43);
            } else {
                assertThatThrownBy(() -> header("many", many.array()))
                        .hasMessageContaining("expected at most 100 scans, found");
            }
        }
    }

    /// Lossless WebP files that made another decoder run for hours, or that it accepted or refused
    /// unlike libwebp.
    @Test
    @Timeout(60)
    void losslessWebpIsReadAsLibwebpReadsIt() throws IOException {
        assertThatThrownBy(() -> decode("endless", hostile("endless.webp")))
                .isInstanceOf(ImageException.class)
                .hasMessageContaining("endless: expected a whole webp image");
        assertThatThrownBy(() -> decode("cut", hostile("cut-short.webp")))
                .isInstanceOf(ImageException.class)
                .hasMessageContaining("its data ends early");
        RgbImage small = decode("small", hostile("small.webp"));
        assertThat(small.width()).isEqualTo(60);
        assertThat(small.height()).isEqualTo(29);
    }

    /// The extended format has the size twice.
    @Test
    void webpWhoseCanvasDiffersIsRefused() throws IOException {
        byte[] sound = file("webp lossy alpha");
        assertThat(new String(sound, 12, 4, StandardCharsets.US_ASCII)).isEqualTo("VP8X");
        assertThat(decode("sound", sound).width()).isPositive();
        byte[] wide = sound.clone();
        wide[24]++;
        assertThatThrownBy(() -> decode("wide", wide)).hasMessageContaining("its canvas has ");
        byte[] unknown = sound.clone();
        unknown[15] = 'Y';
        assertThatThrownBy(() -> decode("unknown", unknown)).hasMessageContaining("found the chunk VP8Y");
    }

    private static byte[] hostile(String name) throws IOException {
        try (var in = ImagesTest.class.getResourceAsStream("hostile/" + name)) {
            return in.readAllBytes();
        }
    }

    @Test
    void gitLfsPointersAreNamed() {
        byte[] pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n".getBytes(StandardCharsets.UTF_8);
        assertThatThrownBy(() -> decode("a.png", pointer)).hasMessageContaining("run git lfs pull");
    }

    @ParameterizedTest
    @CsvSource({
        "GIF89a, a GIF image",
        "II*@, a TIFF image",
        "MM@*, a TIFF image",
        "BM1234@@@@, a BMP image",
        "@@@1ftypavif, an AVIF or HEIC image",
        "@@@1ftypheic, an AVIF or HEIC image",
        "<!DOCTYPE html>, a web page",
        "(\u00b5/\u00fd, a Zstandard file"
    })
    void otherFormatsAreNamed(String start, String name) {
        byte[] file = (start.replace('@', '\0') + "abcdefgh").getBytes(StandardCharsets.ISO_8859_1);
        assertThatThrownBy(() -> decode("a.png", file))
                .isInstanceOf(ImageException.class)
                .hasMessageStartingWith("a.png: expected PNG, JPEG or WebP, found " + name);
    }

    /// Orientation, transparency and 16-bit grey as a viewer shows them, and as Pillow decodes them by
    /// default.
    @Test
    void renderingsDifferWhereViewersAndPillowDo() throws IOException {
        BufferedImage image = new BufferedImage(3, 2, BufferedImage.TYPE_INT_ARGB);
        image.setRGB(0, 0, 0xffff0000);
        image.setRGB(1, 0, 0x00123456);
        image.setRGB(2, 1, 0x80000000);
        byte[] png = png(image);
        byte[] plain = decode("x", png).rgb();
        byte[] viewed = Images.decode("x", png, 6, Rendering.VIEWER).rgb();
        assertThat(Arrays.copyOf(plain, 6)).containsExactly(0xff, 0, 0, 0x12, 0x34, 0x56);
        assertThat(Arrays.copyOf(viewed, 6)).containsExactly(0xff, 0, 0, 0xff, 0xff, 0xff);
        assertThat(viewed[15]).isEqualTo((byte) 127);
        assertThat(Images.traits("x", png)).isEqualTo(new Images.Traits(false, true, false));

        BufferedImage grey = new BufferedImage(2, 1, BufferedImage.TYPE_USHORT_GRAY);
        grey.getRaster().setSample(0, 0, 0, 40000);
        grey.getRaster().setSample(1, 0, 0, 200);
        assertThat(decode("x", png(grey)).rgb()).containsExactly(255, 255, 255, 200, 200, 200);
        assertThat(Images.decode("x", png(grey), 6, Rendering.VIEWER).rgb())
                .containsExactly(40000 >> 8, 40000 >> 8, 40000 >> 8, 0, 0, 0);
        assertThat(Images.traits("x", png(grey))).isEqualTo(new Images.Traits(false, false, true));
        // A fully opaque alpha channel makes no difference.
        assertThat(Images.traits("x", png(new BufferedImage(1, 1, BufferedImage.TYPE_3BYTE_BGR))))
                .isEqualTo(new Images.Traits(false, false, false));
    }

    /// Opacity of lossy WebP, stored with every filter and compression, and orientations of WebP, as Pillow
    /// reads them.
    @Test
    void opacityAndOrientationOfWebpEqualThoseOfPillow() throws IOException {
        int transparent = 0;
        int refused = 0;
        for (JsonNode item : golden("viewer")) {
            String name = item.get("name").asString();
            byte[] file = bytes(item, "file");
            if (item.has("error")) {
                assertThatThrownBy(() -> decode(name, file)).as(name).isInstanceOf(ImageException.class);
                refused++;
                continue;
            }
            int orientation = item.get("orientation").asInt();
            RgbImage plain = decode(name, file);
            byte[] rgb = plain.rgb();
            byte[] opacity = bytes(item, "opacity");
            boolean any = false;
            for (int i = 0; i < rgb.length; i++) {
                int of = opacity[i / 3] & 0xff;
                any |= of < 255;
                rgb[i] = (byte) Math.round(((rgb[i] & 0xff) * of + 255 * (255 - of)) / 255.0);
            }
            RgbImage expected = RgbImage.of(plain.width(), plain.height(), rgb).oriented(orientation);
            RgbImage found = Images.decode(name, file, Images.MAX_PIXELS, Rendering.VIEWER);
            assertThat(found.width()).as(name).isEqualTo(expected.width());
            assertThat(found.rgb()).as(name).isEqualTo(expected.rgb());
            assertThat(Images.traits(name, file)).as(name).isEqualTo(new Images.Traits(orientation != 1, any, false));
            transparent += any ? 1 : 0;
        }
        assertThat(transparent).isEqualTo(18);
        assertThat(refused).isEqualTo(2);
    }

    /// The eight EXIF orientations of an image whose six pixels are numbered row by row.
    @ParameterizedTest
    @CsvSource({
        "1, 3, 012345",
        "2, 3, 210543",
        "3, 3, 543210",
        "4, 3, 345012",
        "5, 2, 031425",
        "6, 2, 304152",
        "7, 2, 524130",
        "8, 2, 251403"
    })
    void orientationsTurnAndMirror(int orientation, int width, String pixels) {
        byte[] rgb = new byte[18];
        for (int i = 0; i < 6; i++) {
            Arrays.fill(rgb, 3 * i, 3 * i + 3, (byte) i);
        }
        RgbImage turned = RgbImage.of(3, 2, rgb).oriented(orientation);
        assertThat(turned.width()).isEqualTo(width);
        StringBuilder found = new StringBuilder();
        for (int i = 0; i < 6; i++) {
            found.append(turned.rgb()[3 * i]);
        }
        assertThat(found).hasToString(pixels);
    }

    private static RgbImage decode(String source, byte[] file) throws ImageException {
        return Images.decode(source, file, Images.MAX_PIXELS, Rendering.PILLOW);
    }

    private static Images.Header header(String source, byte[] file) throws ImageException {
        return Images.header(source, file, Rendering.PILLOW);
    }

    private static byte[] png(BufferedImage image) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ImageIO.write(image, "png", bytes);
        return bytes.toByteArray();
    }

    private static int refused(byte[] file) {
        try {
            Images.decode("hostile", file, 1 << 22, Rendering.VIEWER);
            return 0;
        } catch (ImageException e) {
            assertThat(e).hasMessageContaining("hostile: expected ");
            return 1;
        }
    }
}
