package org.smpo.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIOException;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Latents are read as they were written, and a file that does not fit is refused.
final class LatentsFileTest {
    @TempDir
    private Path temporary;

    private static float[] latents(float first) {
        float[] values = new float[4 * 2 * 3];
        for (int i = 0; i < values.length; i++) {
            values[i] = first + i;
        }
        return values;
    }

    private Path write(float[]... latents) throws IOException {
        Path file = temporary.resolve("latents.safetensors");
        try (LatentsFile.Writer writer = LatentsFile.create(file, latents.length, 2, 3)) {
            for (float[] image : latents) {
                writer.add(image);
            }
        }
        return file;
    }

    @Test
    void eachImageHasItsOwn() throws IOException {
        List<float[]> read = LatentsFile.read(write(latents(0), latents(100)), 2);
        assertThat(read).hasSize(2);
        assertThat(read.get(0)).containsExactly(latents(0));
        assertThat(read.get(1)).containsExactly(latents(100));
    }

    @Test
    void anUnfinishedFileIsDiscarded() throws IOException {
        Path file = temporary.resolve("latents.safetensors");
        try (LatentsFile.Writer writer = LatentsFile.create(file, 2, 2, 3)) {
            writer.add(latents(0));
        }
        assertThat(temporary).isEmptyDirectory();
        assertThat(file).doesNotExist();
    }

    @Test
    void thoseOfOneImageServeAll() throws IOException {
        List<float[]> read = LatentsFile.read(write(latents(7)), 3);
        assertThat(read).hasSize(3).allSatisfy(values -> assertThat(values).containsExactly(latents(7)));
    }

    @Test
    void anotherNumberIsRefused() throws IOException {
        Path file = write(latents(0), latents(1));
        assertThatIOException()
                .isThrownBy(() -> LatentsFile.read(file, 3))
                .withMessageContaining(file + ": latents: expected F32 [1 or 3, 4, h, w], got F32 [2, 4, 2, 3]");
    }

    @Test
    void aNumberThatIsNotFiniteIsRefused() throws IOException {
        float[] broken = latents(0);
        broken[5] = Float.NaN;
        Path file = write(broken);
        assertThatIOException()
                .isThrownBy(() -> LatentsFile.read(file, 1))
                .withMessageContaining("expected finite numbers, got NaN");
    }
}
