package org.smpo.network;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// CLIP's own vocabulary against OpenCLIP's tokenizer (tools/golden/clip_vocabulary.py).
final class BuiltInTokenizerTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/checkpoint/clip_ids.json");
    private static final TokenizerFiles OPEN_AI = new TokenizerFiles.Clip(TokenizerFiles.Clip.END);
    private static final TokenizerFiles OPEN_CLIP = new TokenizerFiles.Clip(TokenizerFiles.Clip.EXCLAMATION_MARK);

    @Test
    void idsEqualThoseOfOpenClip() throws IOException {
        JsonObject golden = Json.readObject(GOLDEN);
        assertThat(Digest.sha256(OPEN_AI.read("merges.txt").orElseThrow())).isEqualTo(golden.string("merges_sha256"));
        int compared = 0;
        try (ClipTokenizer tokenizer = ClipTokenizer.open(OPEN_AI)) {
            assertThat(tokenizer.startId()).isEqualTo(49406);
            assertThat(tokenizer.endId()).isEqualTo(49407);
            assertThat(tokenizer.padId()).isEqualTo(49407);
            for (Object entry : (List<?>) golden.asMap().get("cases")) {
                List<?> row = (List<?>) entry;
                ClipTokens tokens = tokenizer.encode((String) row.get(0));
                List<Long> ids = Arrays.stream(tokens.ids())
                        .limit(tokens.count())
                        .mapToObj(id -> (long) id)
                        .toList();
                assertThat(ids).as((String) row.get(0)).isEqualTo(row.get(1));
                compared++;
            }
        }
        assertThat(compared).isEqualTo(10);
    }

    /// The padding of SD 2 and of SDXL's second tokenizer is "!", and every "!" of a prompt is that
    /// token.
    @Test
    void paddingIsThatOfTheTower() throws IOException {
        try (ClipTokenizer tokenizer = ClipTokenizer.open(OPEN_CLIP)) {
            assertThat(tokenizer.padId()).isZero();
            assertThat(Arrays.copyOf(tokenizer.encode("a!!").ids(), 6)).containsExactly(49406, 320, 0, 0, 49407, 0);
        }
        try (ClipTokenizer tokenizer = ClipTokenizer.open(OPEN_AI)) {
            assertThat(Arrays.copyOf(tokenizer.encode("a!!").ids(), 6))
                    .containsExactly(49406, 320, 748, 49407, 49407, 49407);
        }
        assertThat(OPEN_AI.digests()).isNotEqualTo(OPEN_CLIP.digests());
    }
}
