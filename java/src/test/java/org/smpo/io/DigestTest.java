package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class DigestTest {
    @Test
    void knownAnswers() {
        // FIPS 180-2, appendix B.
        assertThat(Digest.sha256("abc".getBytes(StandardCharsets.UTF_8)))
                .isEqualTo("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assertThat(Digest.sha256(new byte[0]))
                .isEqualTo("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    @Test
    void sameForBytesSegmentsAndFiles(@TempDir Path folder) throws IOException {
        for (int size : new int[] {1, 1 << 20, (1 << 20) + 1, 5_000_003}) {
            byte[] bytes = new byte[size];
            new SplittableRandom(size).nextBytes(bytes);
            Path file = Files.write(folder.resolve("x"), bytes);
            String digest = Digest.sha256(bytes);
            assertThat(Digest.sha256(MemorySegment.ofArray(bytes))).isEqualTo(digest);
            assertThat(Digest.sha256(file)).isEqualTo(digest);
            Digest running = new Digest()
                    .update(ByteBuffer.wrap(bytes, 0, size / 3))
                    .update(MemorySegment.ofArray(bytes).asSlice(size / 3));
            assertThat(running.hex()).isEqualTo(digest);
            bytes[size / 2] ^= 1;
            assertThat(Digest.sha256(bytes)).isNotEqualTo(digest);
        }
    }
}
