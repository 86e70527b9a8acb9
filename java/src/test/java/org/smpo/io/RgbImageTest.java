package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import org.junit.jupiter.api.Test;

/// Pixels are those of diffusers' VaeImageProcessor, exactly: over -1.2 to 1.2, and at the 255 places where rounding
/// changes, the floats around them too.
class RgbImageTest {
    private static final int SIDE = 64;

    /// The formula of tools/golden/images.py.
    private static float[] decoded() {
        float[] x = new float[3 * SIDE * SIDE];
        for (int i = 0; i < x.length; i++) {
            x[i] = (i - 6144) / 5120f;
        }
        for (int k = 0; k < 255; k++) {
            float tie = (k + 0.5f) / 255f * 2f - 1f;
            x[3 * k] = tie;
            x[3 * k + 1] = Math.nextDown(tie);
            x[3 * k + 2] = Math.nextUp(tie);
        }
        return x;
    }

    private static byte[] golden() throws IOException {
        try (InputStream stream = RgbImageTest.class.getResourceAsStream("images/pixels.rgb")) {
            return stream.readAllBytes();
        }
    }

    @Test
    void pixelsEqualThoseOfDiffusers() throws IOException {
        assertThat(RgbImage.ofDecoded(decoded(), SIDE, SIDE).rgb()).isEqualTo(golden());
    }

    /// One operation in double instead of float, or rounding half up, changes pixels.
    @Test
    void theGoldenDistinguishesOtherArithmetic() throws IOException {
        float[] x = decoded();
        byte[] golden = golden();
        int inDouble = 0;
        int halfUp = 0;
        for (int channel = 0; channel < 3; channel++) {
            for (int pixel = 0; pixel < SIDE * SIDE; pixel++) {
                float value = x[channel * SIDE * SIDE + pixel];
                int want = golden[3 * pixel + channel] & 0xff;
                inDouble += Math.rint(Math.clamp(value * 0.5 + 0.5, 0.0, 1.0) * 255.0) == want ? 0 : 1;
                halfUp += Math.round(Math.clamp(value * 0.5f + 0.5f, 0f, 1f) * 255f) == want ? 0 : 1;
            }
        }
        assertThat(inDouble).isPositive();
        assertThat(halfUp).isPositive();
    }

    @Test
    void infinitiesAreClamped() {
        float[] chw = {Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, -0f};
        assertThat(RgbImage.ofDecoded(chw, 1, 1).rgb()).containsExactly(-1, 0, -128);
    }

    @Test
    void aPixelThatIsNotANumberIsRefused() {
        float[] chw = new float[3 * 2 * 5];
        chw[10 + 5 + 3] = Float.NaN;
        assertThatThrownBy(() -> RgbImage.ofDecoded(chw, 2, 5))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("NaN in channel 1, row 1, column 3");
    }

    @Test
    void aWrongNumberOfValuesIsRefused() {
        assertThatThrownBy(() -> RgbImage.ofDecoded(new float[11], 2, 2)).hasMessageContaining("3 x 2 x 2");
        assertThatThrownBy(() -> RgbImage.of(0, 2, new byte[0])).hasMessageContaining("positive sides");
    }

    @Test
    void bytesAreCopied() {
        byte[] rgb = {1, 2, 3};
        RgbImage image = RgbImage.of(1, 1, rgb);
        rgb[0] = 9;
        image.rgb()[1] = 9;
        assertThat(image.rgb()).containsExactly(1, 2, 3);
        assertThat(image)
                .isEqualTo(RgbImage.of(1, 1, new byte[] {1, 2, 3}))
                .isNotEqualTo(RgbImage.of(1, 1, new byte[] {1, 2, 4}))
                .hasSameHashCodeAs(RgbImage.of(1, 1, new byte[] {1, 2, 3}));
        assertThat(RgbImage.of(image.toBufferedImage())).isEqualTo(image);
    }
}
