package org.smpo.demo;

import static org.assertj.core.api.Assertions.assertThat;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;

final class ScenePainterTest {
    private final Philox philox = new Philox(6);

    /// The pixels of a seed are part of the contract: this digest is the same on every machine.
    @Test
    void pixelsKeepTheirBytes() throws NoSuchAlgorithmException {
        assertThat(digest(new Philox(6))).isEqualTo("1359f482990b50135bc96b05e5efde9a9a5bd49ac67969dbef142db14b9b1afb");
        assertThat(digest(new Philox(7))).isNotEqualTo(digest(new Philox(6)));
    }

    private static String digest(Philox philox) throws NoSuchAlgorithmException {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (int item = 0; item < 300; item++) {
            digest.update(ScenePainter.paint(SceneSet.scene(philox, item), philox, 0, item)
                    .rgb());
        }
        return HexFormat.of().formatHex(digest.digest());
    }

    @Test
    void everyItemAndVersionIsADifferentImage() {
        Scene scene = Scene.parse("a small red ring");
        Set<RgbImage> images = new HashSet<>();
        for (int item = 0; item < 50; item++) {
            for (int version = 0; version < 2; version++) {
                images.add(ScenePainter.paint(scene, philox, version, item));
            }
        }
        assertThat(images).hasSize(100);
        assertThat(ScenePainter.paint(scene, philox, 1, 49)).isIn(images);
    }

    /// The coverage of an object sums to its area, from which the radius follows. An error of a hundredth
    /// of a pixel along the largest outline stays within the tolerance of 1 %; a wrong formula does not.
    @Test
    void coverageAddsUpToTheArea() {
        for (Shape shape : Shape.values()) {
            for (double radius : new double[] {8, 12.3, 20}) {
                double sum = 0;
                for (int y = 0; y < 64; y++) {
                    for (int x = 0; x < 64; x++) {
                        sum += shape.coverage(x + 0.5 - 31.7, y + 0.5 - 32.1, radius);
                    }
                }
                double area = shape.unitArea() * radius * radius;
                assertThat(Math.abs(sum / area - 1)).as("%s %s", shape, radius).isLessThan(0.01);
                assertThat(Math.abs(sum / (area * 1.03) - 1)).isGreaterThan(0.01);
            }
        }
    }

    @Test
    void objectsKeepAwayFromTheBorder() {
        for (Scene scene : List.of(
                Scene.parse("a large yellow square"),
                Scene.parse("three blue triangles"),
                Scene.parse("a purple ring above a cyan circle"))) {
            for (int item = 0; item < 50; item++) {
                byte[] rgb = ScenePainter.paint(scene, philox, 0, item).rgb();
                for (int i = 0; i < 64; i++) {
                    for (int pixel : new int[] {i, 63 * 64 + i, 64 * i, 64 * i + 63}) {
                        for (int channel = 0; channel < 3; channel++) {
                            assertThat(rgb[3 * pixel + channel]).isEqualTo(rgb[channel]);
                        }
                    }
                }
                assertThat(new HashSet<>(java.util.HexFormat.of()
                                .formatHex(rgb)
                                .chars()
                                .boxed()
                                .toList()))
                        .hasSizeGreaterThan(2);
            }
        }
    }
}
