package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.cache.Cache;
import org.smpo.cache.CacheKey;
import org.smpo.cache.CachedTensor;

/// `smpo cache` as a user runs it.
final class CacheCommandTest {
    @TempDir
    private Path folder;

    @Test
    void listsVerifiesAndPrunes() throws IOException {
        assertThat(smpo("cache", "ls", "--dir", folder).out()).contains("0 entries, 0 bytes (0.0 MB)");
        Cache cache = Cache.open(folder, warning -> {});
        Map<String, CachedTensor> value = Map.of("x", CachedTensor.of(new float[] {1}, 1L));
        for (int i = 0; i < 3; i++) {
            cache.put(new CacheKey(i == 0 ? "one" : "two", "m", "" + i, ""), value);
        }
        Outcome listed = smpo("cache", "ls", "--dir", folder, "--entries");
        assertThat(listed.out())
                .containsPattern("one +1 entry, \\d+ bytes")
                .containsPattern("two +2 entries, \\d+ bytes");
        assertThat(listed.out().lines()).hasSize(6);
        assertThat(smpo("cache", "verify", "--dir", folder).out())
                .contains("sound: 3 entries")
                .contains("damaged: 0");
        Path broken = cache.entries().get(0).file();
        Files.write(broken, new byte[] {1, 2, 3});
        Outcome damaged = smpo("cache", "verify", "--dir", folder);
        assertThat(damaged.code()).isEqualTo(1);
        assertThat(damaged.out()).contains("damaged: " + broken).contains("sound: 2 entries");
        assertThat(smpo("cache", "verify", "--dir", folder, "--remove").out()).contains("damaged: 1, deleted");
        assertThat(smpo("cache", "verify", "--dir", folder).code()).isZero();
        assertThat(smpo("cache", "prune", "--dir", folder, "--older-than", "1d").out())
                .contains("deleted: 0 entries")
                .contains("left: 2 entries");
        assertThat(smpo("cache", "prune", "--dir", folder, "--max-bytes", "1GiB")
                        .out())
                .contains("left: 2 entries");
        assertThat(smpo("cache", "prune", "--dir", folder, "--kind", "one").out())
                .contains("left: 2 entries");
        assertThat(smpo("cache", "prune", "--dir", folder, "--kind", "two").out())
                .contains("deleted: 2 entries")
                .contains("left: 0 entries");
    }

    @Test
    void wrongUsageIsSaid() {
        assertThat(smpo("cache").code()).isEqualTo(2);
        Outcome nothing = smpo("cache", "prune", "--dir", folder);
        assertThat(nothing.code()).isEqualTo(2);
        assertThat(nothing.err()).contains("expected --older-than, --max-bytes or --kind");
        assertThat(smpo("cache", "prune", "--older-than", "3y").err()).contains("s, m, h, d or w, got 3y");
        assertThat(smpo("cache", "prune", "--max-bytes", "3XB").err()).contains("got 3XB");
        assertThat(smpo("cache", "prune", "--max-bytes", "999999999999TB").err())
                .contains("2^63");
    }
}
