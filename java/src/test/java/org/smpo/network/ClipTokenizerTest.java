package org.smpo.network;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.io.JsonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// Ids equal those of transformers 5.23.0 on 6,000 strings, under both of SDXL's configurations:
/// prompts of words and weights, 23 kinds of random strings (all of Unicode, letters with case,
/// combining marks, composed characters, control and format characters, emoji sequences, CJK,
/// right-to-left and Indic scripts, numbers of every script, white space of every kind, HTML entities,
/// apostrophes, the special tokens in the text), the empty string, prompts that are cut, and single
/// strings of up to 70,000 characters.
///
/// The vocabulary is a small one of the same layout (tools/golden/clip_tokenizer.py), not OpenAI's.
class ClipTokenizerTest {
    private static final JsonMapper JSON = new JsonMapper();
    private static final int LENGTH = 77;

    /// The id of the first merge. It follows 256 byte tokens and their 256 end-of-word versions.
    private static final int FIRST_MERGE = 512;

    @TempDir
    private Path folder;

    /// One line of strings.jsonl.gz.
    private record Golden(String kind, String text, List<Integer> first, List<Integer> second) {}

    private static final List<Golden> STRINGS = strings();

    @BeforeEach
    void copyVocabulary() throws IOException {
        Files.write(folder.resolve("vocab.json"), bytes("vocab.json"));
        Files.write(folder.resolve("merges.txt"), bytes("merges.txt"));
    }

    @Test
    void idsEqualThoseOfTransformers() throws IOException {
        assertThat(STRINGS).hasSizeGreaterThanOrEqualTo(5000);
        assertThat(wrong("first.json", false)).isEmpty();
        assertThat(wrong("second.json", true)).isEmpty();
    }

    /// Detects the loss of a merge: the first, the last, and some between of those whose tokens occur
    /// in the ids.
    @Test
    void aLostMergeIsNoticed() throws IOException {
        List<String> lines = merges();
        List<Integer> used = STRINGS.stream()
                .flatMap(golden -> golden.first().stream())
                .map(id -> id - FIRST_MERGE)
                .filter(rank -> rank >= 0 && rank < lines.size())
                .distinct()
                .sorted()
                .toList();
        assertThat(used).hasSizeGreaterThan(900);
        for (int i : new int[] {0, used.size() / 3, 2 * used.size() / 3, used.size() - 1}) {
            List<String> fewer = new ArrayList<>(lines);
            fewer.remove((int) used.get(i));
            Files.write(folder.resolve("merges.txt"), fewer);
            assertThat(wrong("first.json", false)).as(lines.get(used.get(i))).isNotEmpty();
        }
    }

    /// Detects a merge that was moved to the end.
    @ParameterizedTest
    @ValueSource(ints = {0, 700})
    void aMergeOfAnotherRankIsNoticed(int rank) throws IOException {
        List<String> lines = merges();
        lines.add(lines.remove(rank));
        Files.write(folder.resolve("merges.txt"), lines);
        assertThat(wrong("first.json", false)).isNotEmpty();
    }

    private List<String> merges() throws IOException {
        List<String> lines = new ArrayList<>(Files.readAllLines(folder.resolve("merges.txt")));
        assertThat(lines.removeFirst()).isEqualTo("#version: 0.2");
        return lines;
    }

    @Test
    void theSecondTokenizerIsNotTheFirst() throws IOException {
        assertThat(wrong("first.json", true)).isNotEmpty();
        assertThat(wrong("second.json", false)).isNotEmpty();
    }

    /// Returns, for each kind with a difference, its first string with other ids.
    private Map<String, String> wrong(String config, boolean second) throws IOException {
        Files.write(folder.resolve("tokenizer_config.json"), bytes(config));
        Map<String, String> wrong = new TreeMap<>();
        try (ClipTokenizer tokenizer = ClipTokenizer.open(new TokenizerFiles.InFolder(folder))) {
            List<ClipTokens> rows =
                    tokenizer.encode(STRINGS.stream().map(Golden::text).toList());
            for (int i = 0; i < rows.size(); i++) {
                Golden golden = STRINGS.get(i);
                List<Integer> want = second ? golden.second() : golden.first();
                if (!Arrays.equals(rows.get(i).ids(), padded(want, tokenizer.padId()))
                        || rows.get(i).count() != want.size()) {
                    wrong.putIfAbsent(
                            golden.kind(),
                            JSON.writeValueAsString(golden.text()) + " -> "
                                    + Arrays.toString(rows.get(i).ids()) + ", not " + want);
                }
            }
        }
        return wrong;
    }

    /// Other configurations, each as vocabulary and merges and as one `tokenizer.json`.
    @ParameterizedTest
    @MethodSource("forms")
    void everyVariantOfTheConfigurationIsRead(String name, JsonNode variant) throws IOException {
        for (Map.Entry<String, JsonNode> file : variant.get("files").properties()) {
            JsonNode content = file.getValue();
            if (file.getKey().equals("tokenizer.json")) {
                putVocabularyInto((ObjectNode) content.get("model"));
                Files.delete(folder.resolve("vocab.json"));
                Files.delete(folder.resolve("merges.txt"));
            }
            Files.writeString(folder.resolve(file.getKey()), JSON.writeValueAsString(content));
        }
        try (ClipTokenizer tokenizer = ClipTokenizer.open(new TokenizerFiles.InFolder(folder))) {
            assertThat(tokenizer.padId()).isEqualTo(variant.get("pad_id").asInt());
            assertThat(tokenizer.length()).isEqualTo(LENGTH);
            for (int i = 0; i < variant.get("texts").size(); i++) {
                String text = variant.get("texts").get(i).asString();
                assertThat(tokenizer.encode(text).ids())
                        .as("%s: %s", name, text)
                        .isEqualTo(padded(ints(variant.get("ids").get(i)), tokenizer.padId()));
            }
        }
    }

    static List<Arguments> forms() {
        List<Arguments> forms = new ArrayList<>();
        for (JsonNode variant : JSON.readTree(bytes("cases.json"))) {
            forms.add(Arguments.of(variant.get("name").asString(), variant));
        }
        assertThat(forms).hasSize(16);
        return forms;
    }

    private static void putVocabularyInto(ObjectNode model) {
        model.set("vocab", JSON.readTree(bytes("vocab.json")));
        var merges = model.putArray("merges");
        new String(bytes("merges.txt"), StandardCharsets.UTF_8)
                .lines()
                .skip(1)
                .map(line -> line.split(" ", 2))
                .forEach(pair -> merges.addArray().add(pair[0]).add(pair[1]));
    }

    @Test
    void theTruncatedPartIsTheEndOfThePromptAsWritten() throws IOException {
        try (ClipTokenizer tokenizer = ClipTokenizer.open(new TokenizerFiles.InFolder(folder))) {
            assertThat(tokenizer.encode("").cut()).isEmpty();
            assertThat(tokenizer.encode("a ".repeat(75)).cut()).isEmpty();
            assertThat(tokenizer.encode("a ".repeat(75)).count()).isEqualTo(LENGTH);
            assertThat(tokenizer.encode("a ".repeat(75) + "  THE  Café\n🔥 end").cut())
                    .isEqualTo("THE  Café\n🔥 end");
            // The text before the cut has characters beyond the basic plane, and two characters that
            // become one.
            assertThat(tokenizer
                            .encode("1 ".repeat(60) + "E\u0301 🔥 " + "2 ".repeat(30) + "END")
                            .cut())
                    .endsWith("2 END")
                    .startsWith("2 ");
            ClipTokens row = tokenizer.encode("🔥 E\u0301 " + "2".repeat(200));
            assertThat(row.truncated()).isTrue();
            int textTokens = tokenizer.encode("🔥 E\u0301").count() - 2;
            assertThat(row.cut()).hasSize(200 - (75 - textTokens));
        }
    }

    @Test
    void halfASurrogatePairIsRefused() throws IOException {
        try (ClipTokenizer tokenizer = ClipTokenizer.open(new TokenizerFiles.InFolder(folder))) {
            assertThatThrownBy(() -> tokenizer.encode(List.of("fine 🔥", "bad \ud83d")))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("prompt 1: expected Unicode text, found half a surrogate pair (U+D83D) at index 4");
            assertThatThrownBy(() -> tokenizer.encode("\udd25x")).hasMessageContaining("(U+DD25) at index 0");
        }
    }

    /// As editors on Windows leave them.
    @Test
    void filesWithByteOrderMarksAreRead() throws IOException {
        List<Integer> ids;
        try (ClipTokenizer plain = ClipTokenizer.open(new TokenizerFiles.InFolder(folder))) {
            ids = Arrays.stream(plain.encode("a red circle").ids()).boxed().toList();
        }
        for (String name : List.of("vocab.json", "merges.txt")) {
            Files.writeString(folder.resolve(name), "\ufeff" + Files.readString(folder.resolve(name)));
        }
        try (ClipTokenizer marked = ClipTokenizer.open(new TokenizerFiles.InFolder(folder))) {
            assertThat(Arrays.stream(marked.encode("a red circle").ids())
                            .boxed()
                            .toList())
                    .isEqualTo(ids);
        }
    }

    @Test
    void aFolderWithoutATokenizerIsNamed() throws IOException {
        Files.delete(folder.resolve("merges.txt"));
        assertThatThrownBy(() -> ClipTokenizer.open(new TokenizerFiles.InFolder(folder)))
                .isInstanceOf(NoSuchFileException.class)
                .hasMessageContaining("merges.txt")
                .hasMessageContaining("tokenizer.json, or vocab.json and merges.txt");
    }

    @Test
    void brokenVocabulariesAreRefused() throws IOException {
        Path merges = folder.resolve("merges.txt");
        List<String> lines = Files.readAllLines(merges);
        Files.write(merges, List.of("#version: 0.2", lines.get(1), "a b c"));
        assertThatThrownBy(() -> ClipTokenizer.open(new TokenizerFiles.InFolder(folder)))
                .isInstanceOf(TokenizerException.class)
                .hasMessageContaining(
                        "merges.txt: line 3: expected two tokens and a space between them, found \"a b c\"");
        Files.write(merges, List.of("#version: 0.2", "q zzz"));
        assertThatThrownBy(() -> ClipTokenizer.open(new TokenizerFiles.InFolder(folder)))
                .hasMessageContaining("needs the token \"zzz\", which the vocabulary lacks");
        Files.write(merges, new byte[] {'a', ' ', (byte) 0xff, '\n'});
        assertThatThrownBy(() -> ClipTokenizer.open(new TokenizerFiles.InFolder(folder)))
                .hasMessageContaining("expected UTF-8");
        Files.write(merges, lines);

        Files.writeString(folder.resolve("vocab.json"), "{\"a\": 1, \"b\": 1}");
        assertThatThrownBy(() -> ClipTokenizer.open(new TokenizerFiles.InFolder(folder)))
                .hasMessageContaining("token \"b\": expected an id of its own");
        Files.writeString(folder.resolve("vocab.json"), "{\"a\": ");
        assertThatThrownBy(() -> ClipTokenizer.open(new TokenizerFiles.InFolder(folder)))
                .isInstanceOf(JsonException.class);
        Files.writeString(folder.resolve("vocab.json"), "{\"a\": 0}");
        Files.writeString(merges, "");
        assertThatThrownBy(() -> ClipTokenizer.open(new TokenizerFiles.InFolder(folder)))
                .hasMessageContaining("expected the token <|startoftext|>");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{\"padding_side\": \"left\"} | padding_side: expected right, found left",
                "{\"truncation_side\": \"left\"} | truncation_side: expected right, found left",
                "{\"split_special_tokens\": true} | split_special_tokens: expected false, found true",
                "{\"tokenizer_class\": \"T5Tokenizer\"} | tokenizer_class: expected CLIPTokenizer, found T5Tokenizer",
                "{\"additional_special_tokens\": [\"<s>\"]} | additional_special_tokens: expected none, found [<s>]",
                "{\"model_max_length\": 2} | model_max_length: expected 3 to 65536, found 2",
                "{\"pad_token\": 5} | pad_token: expected a token, as text or as an object with its content, found 5",
                "{\"pad_token\": \"<pad>\"} | expected the token <pad>"
            })
    void whatWeDoNotDoIsRefused(String config, String message) throws IOException {
        Files.writeString(folder.resolve("tokenizer_config.json"), config);
        assertThatThrownBy(() ->
                        ClipTokenizer.open(new TokenizerFiles.InFolder(folder)).close())
                .isInstanceOf(TokenizerException.class)
                .hasMessageContaining(message);
    }

    /// Properties that DJL reads while it loads are restored; the one that it reads at every use keeps
    /// telemetry switched off.
    @Test
    void djlIsLeftAsItWas() throws IOException {
        ClipTokenizer.open(new TokenizerFiles.InFolder(folder)).close();
        assertThat(System.getProperty("OPT_OUT_TRACKING")).isEqualTo("true");
        assertThat(System.getProperties())
                .doesNotContainKeys("ai.djl.offline", "ENGINE_CACHE_DIR", "jna.tmpdir", "slf4j.internal.verbosity");
    }

    private static int[] padded(List<Integer> ids, int pad) {
        int[] row = new int[LENGTH];
        Arrays.setAll(row, i -> i < ids.size() ? ids.get(i) : pad);
        return row;
    }

    private static List<Golden> strings() {
        List<Golden> strings = new ArrayList<>();
        try (InputStream stream =
                new GZIPInputStream(ClipTokenizerTest.class.getResourceAsStream("tokenizer/strings.jsonl.gz"))) {
            for (String line : new String(stream.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList()) {
                JsonNode row = JSON.readTree(line);
                List<Integer> first = ints(row.get(3));
                strings.add(new Golden(
                        row.get(0).asString(),
                        row.get(1).asString().repeat(row.get(2).asInt()),
                        first,
                        row.get(4).isNull() ? first : ints(row.get(4))));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return strings;
    }

    private static List<Integer> ints(JsonNode array) {
        List<Integer> ints = new ArrayList<>();
        array.forEach(id -> ints.add(id.asInt()));
        return ints;
    }

    private static byte[] bytes(String name) {
        try (InputStream stream = ClipTokenizerTest.class.getResourceAsStream("tokenizer/" + name)) {
            assertThat(stream).as(name).isNotNull();
            return stream.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
