package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.SafetensorsWriter.Declaration;
import tools.jackson.databind.JsonNode;

final class SafetensorsWriterTest {
    @TempDir
    Path folder;

    private static Declaration tensor(String name, DType dtype, long... shape) {
        List<Long> boxed = new ArrayList<>();
        for (long dimension : shape) {
            boxed.add(dimension);
        }
        return new Declaration(name, dtype, boxed);
    }

    private static void writePattern(TensorEntry entry, SafetensorsWriter out) throws IOException {
        out.write(entry.name(), ByteBuffer.wrap(SafetensorsGolden.pattern(entry.name(), (int) entry.length())));
    }

    @Test
    void writesTheBytesThatPythonWrites() throws IOException {
        int files = 0;
        for (JsonNode golden : SafetensorsGolden.read("files")) {
            List<Declaration> declarations = new ArrayList<>();
            for (JsonNode t : golden.get("tensors")) {
                declarations.add(new Declaration(
                        t.get("name").asString(),
                        DType.valueOf(t.get("dtype").asString()),
                        t.get("shape").valueStream().map(JsonNode::asLong).toList()));
            }
            Collections.shuffle(declarations, new Random(files));
            Map<String, String> metadata = new LinkedHashMap<>();
            for (String key : golden.get("metadata").propertyNames()) {
                metadata.put(key, golden.get("metadata").get(key).asString());
            }
            Path path = folder.resolve("w.safetensors");
            SafetensorsWriter.write(path, declarations, metadata, SafetensorsWriterTest::writePattern);
            byte[] expected = HexFormat.of().parseHex(golden.get("bytes").asString());
            assertThat(Files.readAllBytes(path)).isEqualTo(expected);
            // The comparison detects a different byte.
            expected[expected.length - 1] ^= 1;
            assertThat(Files.readAllBytes(path)).isNotEqualTo(expected);
            files++;
        }
        assertThat(files).isEqualTo(20);
    }

    @Test
    void everyDtypeComesBack() throws IOException {
        List<Declaration> declarations = new ArrayList<>();
        for (DType dtype : DType.values()) {
            declarations.add(tensor("t." + dtype, dtype, 3, 8));
        }
        Path path = folder.resolve("all.safetensors");
        SafetensorsWriter.write(path, declarations, Map.of("b", "2", "a", "1"), SafetensorsWriterTest::writePattern);
        try (Safetensors file = Safetensors.open(path)) {
            assertThat(file.metadata().keySet()).containsExactly("a", "b");
            assertThat(file.entries()).hasSize(22);
            for (TensorEntry entry : file.entries()) {
                assertThat(file.segment(entry).toArray(ValueLayout.JAVA_BYTE))
                        .isEqualTo(SafetensorsGolden.pattern(entry.name(), (int) entry.length()));
                assertThat(entry.dtype().bits() < 8
                                || entry.offset() % (entry.dtype().bits() / 8) == 0)
                        .as("aligned: %s", entry)
                        .isTrue();
            }
        }
    }

    @Test
    void bytesComeInPieces() throws IOException {
        Path path = folder.resolve("pieces.safetensors");
        byte[] bytes = SafetensorsGolden.pattern("x", 4000);
        try (SafetensorsWriter out = SafetensorsWriter.create(
                path, List.of(tensor("x", DType.F32, 1000), tensor("e", DType.F64, 0)), Map.of())) {
            assertThat(out.entries()).extracting(TensorEntry::name).containsExactly("e", "x");
            out.write("x", ByteBuffer.wrap(bytes, 0, 1));
            out.write("x", MemorySegment.ofArray(bytes).asSlice(1, 2999));
            assertThatIllegalStateException()
                    .isThrownBy(out::commit)
                    .withMessage(path + ": x: expected 4000 bytes, got 3000");
            out.write("x", ByteBuffer.wrap(bytes, 3000, 1000));
            assertThat(path).doesNotExist();
            out.commit();
        }
        try (Safetensors file = Safetensors.open(path)) {
            assertThat(file.segment("x").toArray(ValueLayout.JAVA_BYTE)).isEqualTo(bytes);
        }
    }

    @Test
    void misuseIsNamedAndLeavesTheOldFile() throws IOException {
        Path path = Files.writeString(folder.resolve("old.safetensors"), "old");
        List<Declaration> two = List.of(tensor("a", DType.U8, 2), tensor("b", DType.U8, 2));
        try (SafetensorsWriter out = SafetensorsWriter.create(path, two, Map.of())) {
            assertThatIllegalStateException()
                    .isThrownBy(() -> out.write("b", ByteBuffer.allocate(2)))
                    .withMessage(path + ": expected bytes of a next, got b");
            assertThatIllegalStateException()
                    .isThrownBy(() -> out.write("a", ByteBuffer.allocate(3)))
                    .withMessage(path + ": a: expected at most 2 more bytes, got 3");
            out.write("a", ByteBuffer.allocate(2));
            out.write("b", ByteBuffer.allocate(2));
            assertThatIllegalStateException().isThrownBy(() -> out.write("b", ByteBuffer.allocate(1)));
        }
        assertThatIllegalStateException()
                .isThrownBy(() -> SafetensorsWriter.write(path, two, Map.of(), (entry, out) -> {}));
        assertThat(path).hasContent("old");
        assertThat(AtomicFiles.leftovers(folder)).isEmpty();

        for (List<Declaration> bad : List.of(
                List.of(tensor("a", DType.U8, 2), tensor("a", DType.F32, 2)),
                List.of(tensor("__metadata__", DType.U8, 2)),
                List.of(tensor("a", DType.U8, -1)),
                List.of(tensor("a", DType.F32, 1L << 62, 2)),
                List.of(tensor("a", DType.F4, 3)),
                List.of(tensor("\ud83d", DType.U8, 1)))) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> SafetensorsWriter.create(path, bad, Map.of()))
                    .withMessageStartingWith(path + ": ");
        }
        assertThatIllegalArgumentException()
                .isThrownBy(() -> SafetensorsWriter.create(path, List.of(), Map.of("k", "\udc00")));
        assertThat(AtomicFiles.leftovers(folder)).isEmpty();
    }

    @Test
    void aFullDiskLeavesTheOldFile() throws IOException {
        Path path = Files.writeString(folder.resolve("full.safetensors"), "old");
        assertThatThrownBy(() -> SafetensorsWriter.create(
                        path,
                        List.of(tensor("a", DType.U8, 100)),
                        Map.of(),
                        partial -> FileChannel.open(Path.of("/dev/full"), StandardOpenOption.WRITE)))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("No space left on device")
                .hasMessageContaining("the old file is untouched");
        assertThat(path).hasContent("old");
    }
}
