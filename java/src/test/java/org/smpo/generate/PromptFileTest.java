package org.smpo.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.smpo.network.Prompt;

class PromptFileTest {
    private static final byte[] MARK = {(byte) 0xef, (byte) 0xbb, (byte) 0xbf};

    @TempDir
    private Path folder;

    private Path file(String name, byte[]... parts) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            bytes.write(part);
        }
        return Files.write(folder.resolve(name), bytes.toByteArray());
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] bytes(int... values) {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            bytes[i] = (byte) values[i];
        }
        return bytes;
    }

    @Test
    void everyLineIsAPrompt() throws IOException {
        Path file = file("p.txt", MARK, utf8("a café\r\n\n  \t\r\n 猫, {x} 🔥 \nlast"));
        assertThat(PromptFile.read(file))
                .containsExactly(Prompt.of("a café"), Prompt.of(" 猫, {x} 🔥 "), Prompt.of("last"));
    }

    @Test
    void everyLineIsAnObject() throws IOException {
        String first = "{\"prompt\": \"a\", \"negative_prompt\": \"b\", \"seed\": -7}";
        String second = "{\"prompt\": \"\", \"seed\": null}";
        Path file = file("p.JSONL", utf8(first + "\n\n" + second + "\r\n"));
        assertThat(PromptFile.read(file))
                .containsExactly(new Prompt("a", "b", OptionalLong.of(-7)), new Prompt("", null, OptionalLong.empty()));
    }

    @Test
    void anObjectMayHaveACategory() throws IOException {
        Path file = file("p.jsonl", utf8("{\"prompt\": \"a\", \"category\": \"Animals\"}\n{\"prompt\": \"b\"}\n"));
        assertThat(PromptFile.read(file))
                .containsExactly(new Prompt("a", null, OptionalLong.empty(), "Animals"), Prompt.of("b"));
    }

    /// PartiPrompts' columns; other tables have another order, or no categories.
    @Test
    void aTableHasPromptsAndCategories() throws IOException {
        Path parti = file(
                "P.TSV",
                MARK,
                utf8("Prompt\tCategory\tChallenge\tNote\r\n"
                        + "a cat\tAnimals\tBasic\t\r\n\n"
                        + " 猫 \t\tBasic\tx\n"
                        + "a sign that says \"no\"\tSigns\n"
                        + "\"the word \"\"go\"\"\"\tSigns\n"
                        + "\"A\" and \"B\"\tSigns\n"
                        + "alone"));
        assertThat(PromptFile.read(parti))
                .containsExactly(
                        new Prompt("a cat", null, OptionalLong.empty(), "Animals"),
                        Prompt.of(" 猫 "),
                        new Prompt("a sign that says \"no\"", null, OptionalLong.empty(), "Signs"),
                        new Prompt("the word \"go\"", null, OptionalLong.empty(), "Signs"),
                        new Prompt("\"A\" and \"B\"", null, OptionalLong.empty(), "Signs"),
                        Prompt.of("alone"));
        assertThat(PromptFile.read(file("q.tsv", utf8("id\tprompt\n1\ta\n")))).containsExactly(Prompt.of("a"));
    }

    /// Formats of published benchmarks: HPSv2's lists, DrawBench's table, GenEval's objects.
    @Test
    void theFilesOfBenchmarksAreRead() throws IOException {
        assertThat(PromptFile.read(file("list.json", utf8("[\"a cat\",\n {\"prompt\": \"a dog\", \"seed\": 3}]\n"))))
                .containsExactly(Prompt.of("a cat"), new Prompt("a dog", null, OptionalLong.of(3)));
        assertThat(PromptFile.read(file(
                        "table.csv",
                        utf8("Prompts,Category\r\n\"a red circle, and a \"\"dog\"\"\",Colors\r\n\"two\nlines\",\n"))))
                .containsExactly(
                        new Prompt("a red circle, and a \"dog\"", null, OptionalLong.empty(), "Colors"),
                        Prompt.of("two\nlines"));
        assertThat(PromptFile.read(file(
                        "g.jsonl",
                        utf8("{\"tag\": \"single\", \"include\": [{}], \"prompt\": \"a bench\"}\n\"a cat\"\n"))))
                .containsExactly(Prompt.of("a bench"), Prompt.of("a cat"));
        Path open = file("open.csv", utf8("prompt\n\"a"));
        assertThatThrownBy(() -> PromptFile.read(open)).hasMessageContaining("line 2: expected a quote");
        Path number = file("n.json", utf8("[\"a\", 5]"));
        assertThatThrownBy(() -> PromptFile.read(number)).hasMessageContaining("item 2", "found 5");
        Path other = file("prompts.yaml", utf8("- a cat\n"));
        assertThatThrownBy(() -> PromptFile.read(other)).hasMessageContaining(".jsonl", "found .yaml");
    }

    @Test
    void aTableWithoutPromptsSaysWhere() throws IOException {
        Path unnamed = file("u.tsv", utf8("a cat\tAnimals\n"));
        assertThatThrownBy(() -> PromptFile.read(unnamed))
                .hasMessage(unnamed
                        + ": line 1: expected the names of the columns, Prompt among them, found a cat, Animals");
        Path shorter = file("s.tsv", utf8("id\tPrompt\n1\ta\n2\n"));
        assertThatThrownBy(() -> PromptFile.read(shorter))
                .hasMessage(shorter + ": line 3: expected a prompt in column 2, found 1 columns");
        Path empty = file("e.tsv", utf8("Prompt\tCategory\n\tAnimals\n"));
        assertThatThrownBy(() -> PromptFile.read(empty)).hasMessageContaining("line 2: expected a prompt in column 1");
        Path head = file("h.tsv", utf8("Prompt\n"));
        assertThatThrownBy(() -> PromptFile.read(head))
                .hasMessageContaining("expected a prompt, found none in 1 lines");
    }

    @Test
    void bytesThatAreNotUtf8AreNamedWithTheirLine() throws IOException {
        Path latin = file("latin.txt", MARK, utf8("fine\n\ncaf"), bytes(0xe9), utf8(" x\n"));
        assertThatThrownBy(() -> PromptFile.read(latin))
                .isInstanceOf(PromptFileException.class)
                .hasMessage(latin + ": line 3, byte 4: expected UTF-8, found the byte 0xe9: save the file as UTF-8");
        for (byte[] bad : List.of(
                bytes(0xc0, 0x80), // an overlong encoding of 0
                bytes(0xed, 0xa0, 0x80), // half a surrogate pair
                bytes(0xf4, 0x90, 0x80, 0x80), // beyond Unicode
                bytes(0xe7, 0x8c))) { // cut off
            Path file = file("bad.jsonl", utf8("\n{\"prompt\": \""), bad, utf8("\n"));
            assertThatThrownBy(() -> PromptFile.read(file)).hasMessageContaining("bad.jsonl: line 2, byte 13:");
        }
        Path end = file("end.txt", utf8("a\nb"), bytes(0xe7, 0x8c));
        assertThatThrownBy(() -> PromptFile.read(end)).hasMessageContaining("end.txt: line 2, byte 2:");
    }

    @Test
    void utf16IsRecognized() throws IOException {
        for (byte[] mark : List.of(bytes(0xff, 0xfe), bytes(0xfe, 0xff))) {
            Path file = file("wide.txt", mark, bytes('a', 0, '\n', 0));
            assertThatThrownBy(() -> PromptFile.read(file)).hasMessageContaining(": expected UTF-8, found UTF-16");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{\"prompt\": 5} | line 2: $.prompt: expected text, found 5",
                "{\"seed\": 5} | line 2: $.prompt: expected text, found nothing",
                "{\"prompt\": \"a\", \"seed\": 1.5} | line 2: $.seed: expected an integer, found 1.5",
                "{\"prompt\": \"a\", \"sed\": 1} | line 2: $.sed: expected one of the keys",
                "[\"a\"] | line 2: $: expected an object, found a list of 1",
                "{\"prompt\": | line 2: line 1, column"
            })
    void anObjectThatIsNoPromptIsNamedWithItsLine(String line, String message) throws IOException {
        Path file = file("p.jsonl", utf8("{\"prompt\": \"fine\"}\n" + line + "\n"));
        assertThatThrownBy(() -> PromptFile.read(file))
                .isInstanceOf(PromptFileException.class)
                .hasMessageContaining(message);
    }

    @Test
    void aFileWithoutPromptsIsRefused() throws IOException {
        Path blank = file("blank.txt", utf8("\n \n"));
        assertThatThrownBy(() -> PromptFile.read(blank))
                .hasMessage(blank + ": expected a prompt, found none in 2 lines");
        Path mark = file("mark.txt", MARK);
        assertThatThrownBy(() -> PromptFile.read(mark)).hasMessageContaining("found none in 0 lines");
        assertThatThrownBy(() -> PromptFile.read(folder.resolve("none"))).isInstanceOf(NoSuchFileException.class);
    }
}
