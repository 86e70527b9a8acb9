package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TextStartTest {
    private static final String TEXT = "{\"caption\": \"a café\"}\n";

    @Test
    void textIsDecodedWithoutItsMark() throws IOException {
        for (String mark : new String[] {"", "\ufeff"}) {
            byte[] bytes = (mark + TEXT).getBytes(StandardCharsets.UTF_8);
            assertThat(TextStart.decode("a.json", bytes)).isEqualTo(TEXT);
            assertThat(TextStart.of("a.json", bytes).length()).isEqualTo(mark.isEmpty() ? 0 : 3);
        }
    }

    @ParameterizedTest
    @CsvSource({"UTF-16LE, UTF-16", "UTF-16BE, UTF-16", "UTF-32LE, UTF-32", "UTF-32BE, UTF-32"})
    void otherEncodingsAreNamed(String encoding, String name) {
        assertThatThrownBy(() -> TextStart.of("a.json", ("\ufeff" + TEXT).getBytes(Charset.forName(encoding))))
                .isInstanceOf(IOException.class)
                .hasMessage("a.json: expected UTF-8, found " + name + "; save the file as UTF-8");
    }

    @ParameterizedTest
    @ValueSource(strings = {"UTF-16LE", "UTF-16BE"})
    void otherEncodingsAreNamedWithoutAMark(String encoding) {
        assertThatThrownBy(() -> TextStart.of("a.json", TEXT.getBytes(Charset.forName(encoding))))
                .hasMessageContaining("found UTF-16");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "a", "\0\0\0\0", "a\0\0\0", "a\0b"})
    void otherBytesAreText(String start) throws IOException {
        assertThat(TextStart.of("a", start.getBytes(StandardCharsets.ISO_8859_1)))
                .isEqualTo(TextStart.TEXT);
    }

    @Test
    void bytesThatAreNotUtf8AreRefused() {
        assertThatThrownBy(() -> TextStart.decode("a.txt", TEXT.getBytes(StandardCharsets.ISO_8859_1)))
                .hasMessage("a.txt: expected UTF-8, found bytes that are not");
    }
}
