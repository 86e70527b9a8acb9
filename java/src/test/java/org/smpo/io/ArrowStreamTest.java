package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.ArrowStream.Column;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Streams that pyarrow wrote (`tools/golden/arrow.py`), intact and damaged.
class ArrowStreamTest {
    @TempDir
    private Path temporary;

    private static byte[] golden() throws IOException {
        try (var in = ArrowStreamTest.class.getResourceAsStream("/org/smpo/data/arrow/odd.arrow")) {
            return in.readAllBytes();
        }
    }

    private Path file(byte[] bytes) throws IOException {
        return Files.write(temporary.resolve("odd.arrow"), bytes);
    }

    private static List<Object> values(ArrowStream stream, Column column) throws IOException {
        List<Object> values = new ArrayList<>();
        for (int row = 0; row < stream.rows(); row++) {
            Object value = stream.value(column, row);
            values.add(value instanceof byte[] bytes ? new String(bytes, StandardCharsets.ISO_8859_1) : value);
        }
        return values;
    }

    /// Values are found after columns of every type that is skipped. The second batch repeats rows 1
    /// and 2.
    @Test
    void valuesAreFoundBehindColumnsThatAreNotRead() throws IOException {
        try (ArrowStream stream = ArrowStream.open(file(golden()))) {
            assertThat(stream.rows()).isEqualTo(5);
            assertThat(values(stream, stream.columns().get("half"))).containsExactly(0.5, -2.0, 65504.0, -2.0, 65504.0);
            assertThat(values(stream, stream.columns().get("small"))).containsExactly(-1L, null, 127L, null, 127L);
            assertThat(values(stream, stream.columns().get("unsigned"))).containsExactly(255L, 0L, null, 0L, null);
            assertThat(values(stream, stream.columns().get("truth"))).containsExactly(true, null, false, null, false);
            assertThat(values(stream, stream.columns().get("large_bytes")))
                    .containsExactly("", null, "\u0000\u00ff", null, "\u0000\u00ff");
            assertThat(values(stream, stream.columns().get("text"))).containsExactly("last", "", null, "", null);
            Column deep = stream.columns().get("nested").child("a").child("b");
            assertThat(values(stream, deep)).containsExactly("deep", null, null, null, null);
            Column coded = stream.columns().get("coded");
            assertThat(coded.type()).isEqualTo(ArrowStream.Type.OTHER);
            assertThatThrownBy(() -> stream.value(coded, 0)).hasMessageContaining("coded: its type cannot be read");
            assertThatThrownBy(() -> stream.value(deep, 5)).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    /// A stream that is cut or changed anywhere yields values or an IOException that names the file.
    @Test
    void damageEndsInAMessage() throws IOException {
        byte[] golden = golden();
        int refused = 0;
        int tried = 0;
        for (int length = 0; length < golden.length; length += 37) {
            refused += refused(Arrays.copyOf(golden, length));
            tried++;
        }
        Philox philox = new Philox(3);
        for (int i = 0; i < 1500; i++) {
            PhiloxStream random = philox.stream(Purpose.BOOTSTRAP, 0, i);
            byte[] changed = golden.clone();
            changed[random.nextInt(golden.length)] = (byte) random.nextInt(256);
            changed[random.nextInt(golden.length)] = (byte) (random.nextInt(2) * 255);
            refused += refused(changed);
            tried++;
        }
        assertThat(refused).isBetween(tried / 10, tried - 1);
    }

    private int refused(byte[] bytes) throws IOException {
        try (ArrowStream stream = ArrowStream.open(file(bytes))) {
            for (Column column : stream.columns().values()) {
                if (column.type() != ArrowStream.Type.OTHER && column.type() != ArrowStream.Type.STRUCT) {
                    for (int row = 0; row < Math.min(stream.rows(), 10); row++) {
                        stream.value(column, row);
                    }
                }
            }
            return 0;
        } catch (IOException e) {
            return 1;
        }
    }
}
