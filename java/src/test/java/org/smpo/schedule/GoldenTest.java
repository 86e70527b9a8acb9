package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;

class GoldenTest {
    @Test
    void filesAreTheOnesTheirMakerWrote() throws NoSuchAlgorithmException {
        List<String> manifest = new String(Golden.bytes("MANIFEST"), StandardCharsets.UTF_8)
                .lines()
                .toList();
        assertThat(manifest).hasSize(6);
        for (String line : manifest) {
            String file = line.substring(66);
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(Golden.bytes(file));
            assertThat(HexFormat.of().formatHex(digest)).as(file).isEqualTo(line.substring(0, 64));
        }
    }

    @Test
    void comparisonRejectsWhatIsFurtherOffThanItsTolerance() {
        double[] want = {1, -2, 1e-9};
        assertThat(Golden.close(new double[] {1, -2, 1e-9}, want, 0)).isTrue();
        assertThat(Golden.close(new double[] {1 + 1e-12, -2, 1e-9}, want, 1e-12))
                .isTrue();
        assertThat(Golden.close(new double[] {1 + 1e-5, -2, 1e-9}, want, 1e-9)).isFalse();
        assertThat(Golden.close(new double[] {1, -2 - 4e-9, 1e-9}, want, 1e-9)).isFalse();
        assertThat(Golden.close(new double[] {1, -2, Double.NaN}, want, 1e-9)).isFalse();
        assertThat(Golden.close(new double[] {Double.NaN, -2, 1e-9}, want, 1e-9))
                .isFalse();
        assertThatThrownBy(() -> Golden.assertClose(new double[] {1 + 1e-5, -2, 1e-9}, want, 1e-9, "mutated"))
                .isInstanceOf(AssertionError.class);
        assertThatThrownBy(() -> Golden.assertClose(new double[] {1, -2}, want, 1e-9, "too short"))
                .isInstanceOf(AssertionError.class);
    }
}
