package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

final class SafetensorsTest {
    @TempDir
    Path folder;

    private Path file(String header, int dataBytes) throws IOException {
        return file(header.getBytes(StandardCharsets.UTF_8), dataBytes);
    }

    private Path file(byte[] header, int dataBytes) throws IOException {
        return Files.write(folder.resolve("x.safetensors"), SafetensorsGolden.file(header, dataBytes));
    }

    private static String tensor(String name, String dtype, String shape, String offsets) {
        return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets
                + "}";
    }

    @Test
    void readsWhatPythonWrote() throws IOException {
        int tensors = 0;
        for (JsonNode golden : SafetensorsGolden.read("files")) {
            Path path = Files.write(
                    folder.resolve("golden.safetensors"),
                    HexFormat.of().parseHex(golden.get("bytes").asString()));
            try (Safetensors file = Safetensors.open(path)) {
                assertThat(file.entries()).hasSize(golden.get("tensors").size());
                for (JsonNode tensor : golden.get("tensors")) {
                    String name = tensor.get("name").asString();
                    TensorEntry entry = file.entry(name);
                    assertThat(entry.dtype().name())
                            .isEqualTo(tensor.get("dtype").asString());
                    assertThat(entry.shape())
                            .isEqualTo(tensor.get("shape")
                                    .valueStream()
                                    .map(JsonNode::asLong)
                                    .toList());
                    byte[] bytes = SafetensorsGolden.pattern(name, (int) entry.length());
                    assertThat(file.segment(name).toArray(ValueLayout.JAVA_BYTE))
                            .isEqualTo(bytes);
                    assertThat(file.sha256(name)).isEqualTo(Digest.sha256(bytes));
                    tensors++;
                }
                assertThat(file.metadata())
                        .hasSize(golden.get("metadata").size())
                        .allSatisfy((key, value) -> assertThat(value)
                                .isEqualTo(golden.get("metadata").get(key).asString()));
                assertThat(file.sha256()).isEqualTo(Digest.sha256(path));
            }
        }
        assertThat(tensors).isGreaterThan(80);
    }

    /// Cases in which this reader is stricter than the Python library; no writer produces them.
    private static final Set<String> STRICTER = new TreeSet<>(Set.of(
            "once", // duplicate names and metadata keys
            "the keys dtype, shape and data_offsets", // unknown keys
            "'{'", // arrays for objects, null metadata
            "'\"'", // an object for a dtype
            "'{' as its first byte",
            "only spaces after the closing '}'",
            "integers below 2^63"));

    @Test
    void agreesWithPythonOnDamagedHeaders() throws IOException {
        int accepted = 0;
        int stricter = 0;
        for (JsonNode verdict : SafetensorsGolden.read("verdicts")) {
            byte[] header = Base64.getDecoder().decode(verdict.get("header").asString());
            Path path = file(header, verdict.get("data").asInt());
            String shown = new String(header, StandardCharsets.UTF_8);
            boolean byPython = verdict.get("accepted").asBoolean();
            try (Safetensors file = Safetensors.open(path)) {
                assertThat(byPython)
                        .as("accepted here with %s, not by Python: %s", file.entries(), shown)
                        .isTrue();
                accepted++;
            } catch (SafetensorsException e) {
                assertThat(e.file()).isEqualTo(path.toString());
                assertThat(e).hasMessageStartingWith(path + ": " + e.key() + ": expected ");
                if (byPython) {
                    assertThat(STRICTER)
                            .as("%s for %s", e.getMessage(), shown)
                            .anyMatch(reason -> e.getMessage().contains(": expected " + reason + ", found "));
                    stricter++;
                }
            }
        }
        assertThat(accepted).isGreaterThan(70);
        assertThat(stricter).isBetween(5, 60);
    }

    @Test
    void goldenBytesAreThoseOfTheManifest() throws IOException {
        JsonNode digests = JsonMapper.shared()
                .readTree(SafetensorsGolden.resource("manifest.json"))
                .get("sha256");
        assertThat(digests.propertyNames()).hasSize(2);
        for (String name : digests.propertyNames()) {
            assertThat(Digest.sha256(SafetensorsGolden.resource(name)))
                    .isEqualTo(digests.get(name).asString());
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', textBlock = """
            0 | {"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}} | a: expected once, found a second tensor of that name
            4 | {"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}} | a.dtype: expected once, found a second one
            0 | {"__metadata__":{"k":"1","k":"2"}} | __metadata__.k: expected once, found a second one
            0 | {"__metadata__":{},"__metadata__":{}} | __metadata__: expected once, found a second one
            0 | {"__metadata__":{"k":7}} | __metadata__.k: expected '"', found `7}}` at byte 21
            4 | {"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}} | a.dtype: expected a known dtype such as F16, found "F31"
            4 | {"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}} | a.data_offsets: expected 8 bytes for F32 [2], found [0, 4], 4 bytes
            4 | {"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}} | a.shape: expected integers >= 0, found `-1],"data_offsets":[0,4]` at byte 29
            4 | {"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}} | a.shape: expected integers >= 0, found `1.0],"data_offsets":[0,4` at byte 29
            4 | {"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}} | a.shape: expected integers >= 0, found `01],"data_offsets":[0,4]` at byte 29
            4 | {"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}} | a.data_offsets: expected [begin, end] with begin <= end, found [4, 0]
            4 | {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}} | a.data_offsets: expected [begin, end] with begin <= end, found [0, 4, 4]
            8 | {"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}} | a.data_offsets: expected data from 0 on, where the tensor before it ends, found 4, a hole
            8 | {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"I16","shape":[2],"data_offsets":[2,6]}} | b.data_offsets: expected data from 4 on, where the tensor before it ends, found 2, an overlap
            8 | {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} | data: expected 4 bytes according to the header, found 8 bytes
            3 | {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} | a.data_offsets: expected data within the file's 3 bytes of data, found [0, 4]; is the file truncated?
            0 | {"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}} | a.shape: expected a product that is a number of bytes below 2^60, found [4611686018427387904, 4] of F32 (long overflow)
            0 | {"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,0]}} | a.shape: expected integers below 2^63, found `9223372036854775808],"da` at byte 29
            1 | {"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}} | a.shape: expected a product that is a number of bytes below 2^60, found [3] of F4 (3 elements of 4 bits end inside a byte)
            4 | {"a":{"dtype":"F32","shape":[1]}} | a: expected the key data_offsets, found none
            4 | {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}} | a: expected the keys dtype, shape and data_offsets, found "strides"
            4 | {"a":[]} | a: expected '{', found `[]}` at byte 5
            0 | {}x | header: expected only spaces after the closing '}', found `x` at byte 2
            0 | [] | header: expected '{' as its first byte, found `[]` at byte 0
            0 | {"a | header: expected '"' at a string's end, found the header's end at byte 3
            """)
    void refusesWithFileKeyExpectedAndFound(int dataBytes, String header, String message) throws IOException {
        Path path = file(header, dataBytes);
        assertThatExceptionOfType(SafetensorsException.class)
                .isThrownBy(() -> Safetensors.open(path))
                .withMessage(path + ": " + message);
    }

    @Test
    void refusesBadLengths() throws IOException {
        Path path = folder.resolve("length.safetensors");
        for (int size = 0; size < 8; size++) {
            Files.write(path, new byte[size]);
            assertThatThrownBy(() -> Safetensors.open(path))
                    .isInstanceOf(SafetensorsException.class)
                    .hasMessageContaining(size == 0 ? "an empty file" : "header: expected 8 bytes of length");
        }
        for (long length : new long[] {100_000_001L, Long.MAX_VALUE, Long.MIN_VALUE, -1}) {
            Files.write(
                    path,
                    ByteBuffer.allocate(16)
                            .order(ByteOrder.LITTLE_ENDIAN)
                            .putLong(length)
                            .array());
            assertThatThrownBy(() -> Safetensors.open(path))
                    .isInstanceOf(SafetensorsException.class)
                    .hasMessageContaining(
                            "header length: expected at most 100000000, found " + Long.toUnsignedString(length));
        }
        Files.write(
                path,
                ByteBuffer.allocate(16)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putLong(9)
                        .array());
        assertThatThrownBy(() -> Safetensors.open(path))
                .isInstanceOf(SafetensorsException.class)
                .hasMessageContaining("header length: expected at most the file's 8 bytes, found 9");
        assertThatThrownBy(() -> Safetensors.open(folder.resolve("none"))).isInstanceOf(NoSuchFileException.class);
    }

    @Test
    void nestingCannotExhaustTheStack() throws IOException {
        byte[] bomb = new byte[50_000_000];
        java.util.Arrays.fill(bomb, (byte) '[');
        byte[] start = "{\"a\":{\"dtype\":\"F32\",\"shape\":".getBytes(StandardCharsets.UTF_8);
        System.arraycopy(start, 0, bomb, 0, start.length);
        Path path = file(bomb, 0);
        assertThatThrownBy(() -> Safetensors.open(path)).isInstanceOf(SafetensorsException.class);
        java.util.Arrays.fill(bomb, 1, bomb.length, (byte) '{');
        Path other = file(bomb, 0);
        assertThatThrownBy(() -> Safetensors.open(other)).isInstanceOf(SafetensorsException.class);
    }

    @Test
    void acceptsWhatTheFormatAllows() throws IOException {
        // Header order is free, empty tensors may sit anywhere between others, white space inside is allowed.
        String header = "{ " + tensor("late", "F32", "[ 1 ]", "[4,\n8]") + "," + tensor("none", "U8", "[7,0]", "[4,4]")
                + "," + tensor("early", "F8_E5M2", "[2,2]", "[0,4]") + ",\"__metadata__\":{\"format\":\"pt\"}}   ";
        try (Safetensors file = Safetensors.open(file(header, 8))) {
            assertThat(file.entries()).extracting(TensorEntry::name).containsExactly("early", "none", "late");
            int start = 8 + header.length();
            assertThat(file.entry("late")).isEqualTo(new TensorEntry("late", DType.F32, List.of(1L), start + 4, 4));
            assertThat(file.entry("none").elements()).isZero();
            assertThat(file.segment("none").byteSize()).isZero();
            assertThat(file.metadata()).containsExactly(java.util.Map.entry("format", "pt"));
            assertThat(file.find("missing")).isEmpty();
            assertThatThrownBy(() -> file.segment("missing"))
                    .isInstanceOf(SafetensorsException.class)
                    .hasMessageContaining("missing: expected a tensor of that name, found none among 3");
        }
        try (Safetensors empty = Safetensors.open(file("{}", 0))) {
            assertThat(empty.entries()).isEmpty();
        }
        try (Safetensors scalar = Safetensors.open(file("{" + tensor("s", "F64", "[]", "[0,8]") + "}", 8))) {
            assertThat(scalar.entry("s").elements()).isEqualTo(1);
        }
    }

    @Test
    void everyDtypeHasItsSize() throws IOException {
        for (DType dtype : DType.values()) {
            int bytes = dtype.bits() * 16 / 8;
            String header = "{" + tensor("t", dtype.name(), "[2,8]", "[0," + bytes + "]") + "}";
            try (Safetensors file = Safetensors.open(file(header, bytes))) {
                assertThat(file.entry("t").dtype()).isEqualTo(dtype);
            }
        }
        assertThat(DType.values()).hasSize(22);
    }

    @Test
    void segmentsAreReadOnlyAndDieWithTheFile() throws IOException {
        Safetensors file = Safetensors.open(file("{" + tensor("t", "U8", "[4]", "[0,4]") + "}", 4));
        MemorySegment segment = file.segment("t");
        assertThat(segment.isReadOnly()).isTrue();
        assertThatThrownBy(() -> segment.set(ValueLayout.JAVA_BYTE, 0, (byte) 1))
                .isInstanceOfAny(IllegalArgumentException.class, UnsupportedOperationException.class);
        assertThatThrownBy(() -> segment.get(ValueLayout.JAVA_BYTE, 4)).isInstanceOf(IndexOutOfBoundsException.class);
        file.close();
        file.close();
        assertThatThrownBy(() -> segment.get(ValueLayout.JAVA_BYTE, 0)).isInstanceOf(IllegalStateException.class);
    }

    /// A sparse file of 5 GiB: a tensor of 2.5 GiB, one that begins and one that ends beyond 4 GiB.
    @Test
    void tensorsAndFilesBeyondTwoGigabytes() throws IOException {
        long large = 5L << 29; // 2.5 GiB
        String header = "{" + tensor("a", "U8", "[" + large + "]", "[0," + large + "]") + ","
                + tensor("b", "F16", "[" + large / 4 + ",2]", "[" + large + "," + 2 * large + "]") + ","
                + tensor("c", "F32", "[1]", "[" + 2 * large + "," + (2 * large + 4) + "]") + "}";
        Path path = file(header, 0);
        long start = 8L + header.length();
        try (RandomAccessFile sparse = new RandomAccessFile(path.toFile(), "rw")) {
            sparse.setLength(start + 2 * large + 4);
            sparse.seek(start + large - 1);
            sparse.write(new byte[] {11, 22});
            sparse.seek(start + 2 * large);
            sparse.write(new byte[] {0, 0, (byte) 0x80, 0x3f});
        }
        try (Safetensors file = Safetensors.open(path)) {
            MemorySegment a = file.segment("a");
            assertThat(a.byteSize()).isEqualTo(large);
            assertThat(a.get(ValueLayout.JAVA_BYTE, large - 1)).isEqualTo((byte) 11);
            assertThat(file.segment("b").get(ValueLayout.JAVA_BYTE, 0)).isEqualTo((byte) 22);
            assertThat(file.segment("c").get(ValueLayout.JAVA_FLOAT_UNALIGNED, 0))
                    .isEqualTo(1f);
        }
        // With one byte less, the last tensor exceeds the file.
        try (RandomAccessFile sparse = new RandomAccessFile(path.toFile(), "rw")) {
            sparse.setLength(start + 2 * large + 3);
        }
        assertThatThrownBy(() -> Safetensors.open(path))
                .isInstanceOf(SafetensorsException.class)
                .hasMessageContaining("c.data_offsets: expected data within the file's");
    }
}
