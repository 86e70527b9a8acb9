package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.ParquetWriter.Column;

class ParquetWriterTest {
    private static final List<Column> COLUMNS =
            List.of(Column.text("id"), Column.integer("row"), Column.number("a \"b\""), Column.bytes("data"));

    @TempDir
    private Path temporary;

    private static void write(Path target) throws IOException {
        ParquetWriter.write(target, COLUMNS, new TreeMap<>(Map.of("it's", "a 'b'")), writer -> {
            writer.add("x'y", 1L, -0.5, new byte[] {1, 2});
            writer.add(null, null, null, null);
            writer.add("", 3L, Double.MIN_VALUE, new byte[0]);
        });
    }

    /// Names are never patterns, whatever characters they have.
    @Test
    void whatIsWrittenIsRead() throws IOException {
        Files.writeString(temporary.resolve("s1'.parquet"), "another file, which the pattern would match");
        for (String name : List.of("plain.parquet", "s[1]'.parquet", "what?.parquet", "a*b.parquet")) {
            Path file = temporary.resolve(name);
            write(file);
            try (ParquetReader parquet = ParquetReader.open()) {
                assertThat(parquet.columns(file).keySet()).containsExactly("id", "row", "a \"b\"", "data");
                assertThat(parquet.rows(file)).isEqualTo(3);
                assertThat(parquet.metadata(file)).containsEntry("it's", "a 'b'");
                List<List<Object>> rows = new ArrayList<>();
                List<String> all = List.of("id", ParquetReader.column("a \"b\""), "data");
                parquet.read(file, all, (row, values) -> rows.add(values));
                assertThat(Arrays.deepEquals(rows.get(0).toArray(), new Object[] {"x'y", -0.5, new byte[] {1, 2}}))
                        .isTrue();
                assertThat(rows.get(1)).containsExactly(null, null, null);
                assertThat(Arrays.deepEquals(rows.get(2).toArray(), new Object[] {"", Double.MIN_VALUE, new byte[0]}))
                        .isTrue();
                List<Integer> numbers = new ArrayList<>();
                parquet.read(file, List.of(), List.of(2, 0, 9), (row, values) -> numbers.add(row));
                assertThat(numbers).containsExactlyInAnyOrder(0, 2);
            }
        }
    }

    @Test
    void equalRowsGiveEqualBytes() throws IOException {
        write(temporary.resolve("a.parquet"));
        write(temporary.resolve("b.parquet"));
        assertThat(temporary.resolve("a.parquet")).hasSameBinaryContentAs(temporary.resolve("b.parquet"));
    }

    @Test
    void aFailureLeavesTheOldFileAndNothingElse() throws IOException {
        Path target = Files.writeString(temporary.resolve("old.parquet"), "old");
        assertThatThrownBy(() -> ParquetWriter.write(target, COLUMNS, new TreeMap<>(), writer -> {
                    writer.add("a", 1L, 1.0, new byte[1]);
                    throw new IOException("the source went away");
                }))
                .hasMessageContaining("the source went away")
                .hasMessageContaining("the old file is untouched");
        assertThat(target).hasContent("old");
        assertThat(AtomicFiles.leftovers(temporary)).isEmpty();
        assertThatThrownBy(
                        () -> ParquetWriter.write(target, COLUMNS, new TreeMap<>(), writer -> writer.add("too", "few")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("expected 4 values");
    }

    @Test
    void whatIsNotParquetIsNamed() throws IOException {
        Path text = Files.writeString(temporary.resolve("x.parquet"), "PAR1 and no more");
        try (ParquetReader parquet = ParquetReader.open()) {
            assertThatThrownBy(() -> parquet.columns(text)).hasMessageContaining("x.parquet: expected a readable");
            assertThatThrownBy(() -> parquet.rows(temporary.resolve("none"))).hasMessageContaining("found nothing");
        }
    }
}
