package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PngTest {
    @TempDir
    private Path folder;

    private static RgbImage image(int width, int height, int step) {
        byte[] rgb = new byte[3 * width * height];
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (i * step);
        }
        return RgbImage.of(width, height, rgb);
    }

    private static ImageSettings settings() {
        Map<String, Object> more = new LinkedHashMap<>();
        more.put("model", "sd-1.5, fine: \"tuned\"");
        more.put("clip_skip", 2);
        return new ImageSettings("a (café:1.2), 猫 🔥\nsecond line", "blurry", 42, 20, "ddim", 7.0, 512, 768, more);
    }

    @Test
    void whatIsWrittenIsReadBack() throws IOException {
        Png png = new Png(image(37, 19, 7), settings().text());
        Path file = folder.resolve("a.png");
        png.write(file);
        assertThat(Png.read(file)).isEqualTo(png);
        assertThat(folder.toFile().list()).containsExactly("a.png");
    }

    @Test
    void equalImagesGiveEqualBytes() {
        byte[] bytes = new Png(image(64, 64, 3), settings().text()).bytes();
        assertThat(new Png(image(64, 64, 3), settings().text()).bytes()).isEqualTo(bytes);
        assertThat(new Png(image(64, 64, 5), settings().text()).bytes()).isNotEqualTo(bytes);
        assertThat(new Png(image(64, 64, 3), Map.of("parameters", "x")).bytes()).isNotEqualTo(bytes);
        assertThat(new String(bytes, StandardCharsets.ISO_8859_1)).doesNotContain("tIME");
    }

    /// `Map.of` has another order in each virtual machine.
    @Test
    void theOrderOfTheTextDoesNotMatter() {
        Map<String, String> text = new LinkedHashMap<>();
        text.put("seed", "1");
        text.put("prompt", "a cat");
        Map<String, String> reversed = new LinkedHashMap<>();
        reversed.put("prompt", "a cat");
        reversed.put("seed", "1");
        assertThat(new Png(image(2, 2, 3), text).bytes()).isEqualTo(new Png(image(2, 2, 3), reversed).bytes());
    }

    @Test
    void aFileOfPillowIsRead() throws IOException {
        try (InputStream stream = PngTest.class.getResourceAsStream("images/pillow.png")) {
            Png png = Png.read("pillow.png", stream.readAllBytes());
            assertThat(png.image()).isEqualTo(image(5, 3, 5));
            assertThat(png.text())
                    .isEqualTo(Map.of(
                            "parameters",
                            "a café\nSteps: 20",
                            "long",
                            "x".repeat(100),
                            "prompt",
                            "猫 🔥",
                            "packed",
                            "語".repeat(50)));
        }
    }

    @Test
    void theSettingsReadAsOtherToolsWriteThem() throws IOException {
        Map<String, String> text = settings().text();
        assertThat(text.get("parameters")).isEqualTo("""
                a (café:1.2), 猫 🔥
                second line
                Negative prompt: blurry
                Steps: 20, Sampler: ddim, CFG scale: 7, Seed: 42, Size: 512x768, \
                Model: "sd-1.5, fine: \\"tuned\\"", Clip skip: 2""");
        JsonObject values = Json.parseObject("smpo", text.get("smpo"));
        assertThat(values.string("prompt")).isEqualTo("a (café:1.2), 猫 🔥\nsecond line");
        assertThat(values.integer("seed")).isEqualTo(42);
        assertThat(values.number("guidance_scale")).isEqualTo(7.0);
        assertThat(values.integer("clip_skip")).isEqualTo(2);
        assertThat(values.keys()).hasSize(10);
    }

    @Test
    void aPromptWithTheCharacterZeroIsStillWritten() throws IOException {
        ImageSettings zero = new ImageSettings("a\0b", "", -1, 1, "euler", 7.5, 1, 1, Map.of());
        Png png = Png.read("zero", new Png(image(1, 1, 1), zero.text()).bytes());
        assertThat(png.text().get("parameters"))
                .isEqualTo("a\ufffdb\nSteps: 1, Sampler: euler, CFG scale: 7.5, Seed: -1, Size: 1x1");
        assertThat(Json.parseObject("smpo", png.text().get("smpo")).string("prompt"))
                .isEqualTo("a\0b");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                " x",
                "é",
                "a\nb",
                "0123456789012345678901234567890123456789012345678901234567890123456789x123456789"
            })
    void aKeywordThatPngForbidsIsRefused(String keyword) {
        assertThatThrownBy(() -> new Png(image(1, 1, 1), Map.of(keyword, "x")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("keyword");
    }

    @Test
    void theCharacterZeroIsRefused() {
        assertThatThrownBy(() -> new Png(image(1, 1, 1), Map.of("k", "a\0b")))
                .hasMessage("png: k: expected text without the character 0");
    }

    @Test
    void aFileThatIsNoPngIsNamed() throws IOException {
        Path file = folder.resolve("no.png");
        Files.writeString(file, "no");
        assertThatThrownBy(() -> Png.read(file))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("no.png: expected a PNG");
        byte[] whole = new Png(image(64, 64, 3), Map.of()).bytes();
        assertThatThrownBy(() -> Png.read("half", Arrays.copyOf(whole, whole.length / 2)))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("half: expected a PNG");
    }
}
