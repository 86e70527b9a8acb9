package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Files of `torch.save`, written by tools/golden/torch_file.py, and damaged ones.
final class TorchFileTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/io/torch");

    /// Number of files. Each is written, mapped and closed, so 100,000 (-Dsmpo.fuzz=100000) take
    /// minutes.
    private static final int MUTATED_FILES = Integer.getInteger("smpo.fuzz", 5_000);
    private static final int MUTATED_PICKLES = 200_000;

    /// Another choice of mutations: -Dsmpo.fuzz.seed=1.
    private static final long SEED = Long.getLong("smpo.fuzz.seed", 0);

    @TempDir
    private Path temporary;

    private static Map<String, List<Object>> read(Path path) throws IOException {
        Map<String, List<Object>> all = new LinkedHashMap<>();
        try (TorchFile file = TorchFile.open(path)) {
            for (TensorEntry entry : file.entries()) {
                byte[] bytes = file.segment(entry).toArray(ValueLayout.JAVA_BYTE);
                assertThat(bytes).hasSize((int) entry.length());
                all.put(entry.name(), List.of(entry.dtype(), entry.shape(), Arrays.hashCode(bytes)));
            }
        }
        return all;
    }

    private static Map<String, List<Object>> values() throws IOException {
        Map<String, List<Object>> all = new LinkedHashMap<>();
        try (Safetensors file = Safetensors.open(GOLDEN.resolve("values.safetensors"))) {
            for (TensorEntry entry : file.entries()) {
                byte[] bytes = file.segment(entry).toArray(ValueLayout.JAVA_BYTE);
                all.put(entry.name(), List.of(entry.dtype(), entry.shape(), Arrays.hashCode(bytes)));
            }
        }
        return all;
    }

    @Test
    void tensorsEqualThoseOfTheSafetensorsFile() throws IOException {
        Map<String, List<Object>> expected = values();
        assertThat(expected).hasSize(11);
        assertThat(read(GOLDEN.resolve("tensors.pth"))).isEqualTo(expected);
        assertThat(read(GOLDEN.resolve("checkpoint.ckpt"))).isEqualTo(expected);
        assertThat(read(GOLDEN.resolve("parameters.pth"))).containsOnlyKeys("model.w", "list.0");
        assertThat(FloatTensor.readAll(GOLDEN.resolve("tensors.pth"))
                        .get("scalar")
                        .values())
                .containsExactly(1.5f);
    }

    @Test
    void anythingButTensorsIsRefusedByName() {
        assertRefused("exec.pth", "data.pkl: expected tensors only, found a pickle that names posix.system");
        assertRefused("compressed.pth", "expected an uncompressed entry, found compression method 8");
        assertRefused("legacy.pt", "save it again with a later version");
        assertRefused("expanded.pth", "expected sizes and strides of distinct elements, found [5] and [0]");
    }

    private static void assertRefused(String file, String message) {
        assertThatThrownBy(() -> TorchFile.open(GOLDEN.resolve(file)).close())
                .isInstanceOf(IOException.class)
                .hasMessageContaining(file)
                .hasMessageContaining(message);
    }

    private static byte[] pickle(Object... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (Object part : parts) {
            switch (part) {
                case Integer code -> out.write(code);
                case Character code -> out.write(code);
                case String text -> out.writeBytes(text.getBytes(StandardCharsets.UTF_8));
                default -> throw new IllegalArgumentException(part.toString());
            }
        }
        return out.toByteArray();
    }

    private static void assertPickleRefused(String message, Object... parts) {
        assertThatThrownBy(() -> TorchPickle.tensors("x.pt", pickle(parts)))
                .isInstanceOf(IOException.class)
                .hasMessageContaining(message);
    }

    @Test
    void damagedPicklesAreRefused() throws IOException {
        assertThat(TorchPickle.tensors("x.pt", pickle(0x80, 2, '}', '.'))).isEmpty();
        assertPickleRefused("names builtins.eval", 0x80, 2, "cbuiltins\neval\n", '.');
        assertPickleRefused("protocol 4", 0x80, 4, '}', '.');
        assertPickleRefused("pickle opcode 0x69", 0x80, 2, "ios\nsystem\n", '.');
        assertPickleRefused("found its end", 0x80, 2, '}');
        assertPickleRefused("more after it", 0x80, 2, '}', '}', '.');
        assertPickleRefused("found none", 0x80, 2, '.');
        assertPickleRefused("at memo 3", 0x80, 2, 'h', 3, '.');
        // A dictionary that contains itself, and a list that occurs twice.
        assertPickleRefused("refers to itself", 0x80, 2, '}', 'q', 0, 'X', 1, 0, 0, 0, "a", 'h', 0, 's', '.');
        assertPickleRefused("refers to itself", 0x80, 2, ']', ']', 'q', 0, 'K', 1, 'a', 'a', 'h', 0, 'a', '.');
    }

    /// A mutation is either refused or does not change any tensor: the pickle and the tensors have
    /// checksums.
    @Test
    void mutatedFilesAreRefusedOrUnchanged() throws IOException {
        byte[] original = Files.readAllBytes(GOLDEN.resolve("tensors.pth"));
        Map<String, List<Object>> expected = read(GOLDEN.resolve("tensors.pth"));
        Path file = temporary.resolve("mutated.pth");
        Random random = new Random(20260101 + SEED);
        int opened = 0;
        for (int i = 0; i < MUTATED_FILES; i++) {
            byte[] bytes = original.clone();
            for (int n = 1 + random.nextInt(3); n > 0; n--) {
                bytes[random.nextInt(bytes.length)] = (byte) (random.nextInt(4) == 0 ? 0xff : random.nextInt(256));
            }
            if (random.nextInt(10) == 0) {
                bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length));
            }
            Files.write(file, bytes);
            try {
                assertThat(read(file)).as("mutation %d", i).isEqualTo(expected);
                opened++;
            } catch (IOException e) {
                assertThat(e.getMessage()).contains("mutated.pth", "expected ");
            }
        }
        System.out.printf(
                "%d mutated files: %d unchanged, %d refused%n", MUTATED_FILES, opened, MUTATED_FILES - opened);
        assertThat(opened).isBetween(MUTATED_FILES / 100, MUTATED_FILES * 9 / 10);
    }

    /// Without its checksum, a mutated pickle yields tensors within their storages or an error.
    @Test
    void mutatedPicklesNeverCrash() throws IOException {
        byte[] original;
        try (var zip =
                new java.util.zip.ZipFile(GOLDEN.resolve("checkpoint.ckpt").toFile())) {
            original = zip.getInputStream(zip.getEntry("checkpoint/data.pkl")).readAllBytes();
        }
        assertThat(TorchPickle.tensors("x", original)).hasSize(11);
        Random random = new Random(7 + SEED);
        int read = 0;
        for (int i = 0; i < MUTATED_PICKLES; i++) {
            byte[] bytes = original.clone();
            for (int n = 1 + random.nextInt(4); n > 0; n--) {
                // Half of the bytes come from the file, so that many are opcodes.
                bytes[random.nextInt(bytes.length)] =
                        random.nextBoolean() ? original[random.nextInt(bytes.length)] : (byte) random.nextInt(256);
            }
            try {
                for (TorchPickle.Tensor tensor : TorchPickle.tensors("x", bytes).values()) {
                    long last = tensor.offset();
                    for (int d = 0; d < tensor.shape().size(); d++) {
                        last += Math.max(0, tensor.shape().get(d) - 1)
                                * tensor.strides().get(d);
                    }
                    assertThat(tensor.elements() == 0 || last < tensor.storage().elements())
                            .isTrue();
                }
                read++;
            } catch (IOException e) {
                assertThat(e.getMessage()).startsWith("x: expected ");
            }
        }
        assertThat(read).isBetween(1, MUTATED_PICKLES - 1);
    }
}
