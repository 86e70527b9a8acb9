package org.smpo.network;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TokenizerFiles;

/// BERT's tokenizer against transformers' (tools/golden/imagereward.py).
final class BertTokenizerTest {
    @TempDir
    private Path temporary;

    @Test
    void idsAreThoseOfTransformers() throws IOException {
        List<?> rows = (List<?>) TinyBlip.tokens().asMap().get("rows");
        assertThat(rows).hasSize(400);
        int cut = 0;
        try (BertTokenizer tokenizer = BertTokenizer.open(new TokenizerFiles.InFolder(TinyBlip.vocabulary()))) {
            for (Object row : rows) {
                String text = (String) ((List<?>) row).get(0);
                List<?> ids = (List<?>) ((List<?>) row).get(1);
                List<Long> found = Arrays.stream(tokenizer.encode(text, 35))
                        .mapToObj(Long::valueOf)
                        .toList();
                assertThat(found).as("%s", Arrays.toString(text.toCharArray())).isEqualTo(ids);
                cut += found.size() == 35 ? 1 : 0;
            }
            assertThat(cut).isEqualTo(2);
            assertThat(tokenizer.encode("a cat", 3)).hasSize(3);
            assertThatThrownBy(() -> tokenizer.encode("a \ud800 b", 35)).hasMessageContaining("half a surrogate pair");
        }
    }

    @Test
    void otherVocabulariesAreRefused() throws IOException {
        TokenizerFiles files = new TokenizerFiles.InFolder(temporary);
        assertThatThrownBy(() -> BertTokenizer.open(files))
                .isInstanceOf(TokenizerException.class)
                .hasMessageContaining("vocab.txt: expected the vocabulary of bert-base-uncased, found nothing");
        Files.writeString(temporary.resolve("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\ncat\n");
        assertThatThrownBy(() -> BertTokenizer.open(files))
                .hasMessageContaining("expected a vocabulary of BERT, found none with the token [MASK]");
        // Line ends of Windows and a missing final newline change nothing; BLIP's tokens come last.
        Files.writeString(temporary.resolve("vocab.txt"), "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\ncat");
        try (BertTokenizer tokenizer = BertTokenizer.open(files)) {
            assertThat(tokenizer.encode("Cat [ENC] dog", 35)).containsExactly(2, 5, 7, 1, 3);
            assertThat(tokenizer.size()).isEqualTo(8);
        }
    }
}
