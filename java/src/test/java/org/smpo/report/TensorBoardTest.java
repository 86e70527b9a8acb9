package org.smpo.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.InstantSource;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Event files have the bytes that TensorBoard's own writer produces for the same events.
class TensorBoardTest {
    private static final InstantSource CLOCK = InstantSource.fixed(Instant.ofEpochMilli(1763692800500L));

    @TempDir
    private Path folder;

    private static byte[] resource(String name) throws IOException {
        try (InputStream stream = TensorBoardTest.class.getResourceAsStream(name)) {
            return stream.readAllBytes();
        }
    }

    /// Writes the events of the golden file, optionally with one value changed.
    private byte[] writeGoldenEvents(Path file, double nudge) throws IOException {
        try (TensorBoard board = TensorBoard.create(file, CLOCK)) {
            board.text(0, "recipe", "    seed: 5\n    \u00e9: \u2713\n");
            for (long step : new long[] {0, 1, 127, 128, 300, 1L << 40}) {
                Map<String, Double> values = new LinkedHashMap<>();
                values.put("loss/policy", 0.1 * step + nudge);
                values.put("loss/zero", 0.0);
                values.put("loss/nan", Double.NaN);
                values.put("loss/tiny", -1e-40);
                board.scalars(step, values);
            }
            board.image(300, "samples/a cat (0)", resource("/org/smpo/io/images/pillow.png"));
        }
        return Files.readAllBytes(file);
    }

    @Test
    void bytesEqualThoseOfTensorBoardsOwnWriter() throws IOException {
        byte[] golden = resource("golden.tfevents");
        assertThat(writeGoldenEvents(folder.resolve("a"), 0)).isEqualTo(golden);
        assertThat(writeGoldenEvents(folder.resolve("b"), 1e-3)).isNotEqualTo(golden);
    }

    @Test
    void aResumedFileEqualsTheUninterruptedOne() throws IOException {
        Path whole = folder.resolve("whole");
        try (TensorBoard board = TensorBoard.create(whole, CLOCK)) {
            for (long step = 1; step <= 10; step++) {
                board.scalars(step, Map.of("loss", 1.0 / step));
            }
        }
        Path resumed = folder.resolve("resumed");
        long length;
        try (TensorBoard board = TensorBoard.create(resumed, CLOCK)) {
            for (long step = 1; step <= 5; step++) {
                board.scalars(step, Map.of("loss", 1.0 / step));
            }
            length = board.sync();
            board.scalars(6, Map.of("loss", 1.0 / 6));
            board.scalars(7, Map.of("loss", 1.0 / 7));
        }
        try (TensorBoard board = TensorBoard.resume(resumed, length, CLOCK)) {
            for (long step = 6; step <= 10; step++) {
                board.scalars(step, Map.of("loss", 1.0 / step));
            }
        }
        assertThat(resumed).hasSameBinaryContentAs(whole);
    }

    @Test
    void aMissingFileCannotBeResumed() throws IOException {
        Path file = folder.resolve("events");
        TensorBoard.create(file, CLOCK).close();
        assertThatThrownBy(() -> TensorBoard.create(file, CLOCK)).isInstanceOf(IOException.class);
        assertThatThrownBy(() -> TensorBoard.resume(file, 10_000, CLOCK))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("expected at least the 10000 bytes that it had at the checkpoint");
    }

    @Test
    void anImageIsAPng() throws IOException {
        try (TensorBoard board = TensorBoard.create(folder.resolve("events"), CLOCK)) {
            assertThatThrownBy(() -> board.image(1, "x", new byte[100])).hasMessageContaining("x: expected a PNG");
            assertThatThrownBy(() -> board.image(1, "x", new byte[1])).isInstanceOf(IllegalArgumentException.class);
        }
        assertThat(TensorBoard.fileIn(folder).getFileName().toString()).startsWith("events.out.tfevents.");
    }
}
