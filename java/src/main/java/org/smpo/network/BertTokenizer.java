package org.smpo.network;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.io.Digest;
import org.smpo.io.Json;

/// The tokenizer of bert-base-uncased with BLIP's two additional tokens, read from `vocab.txt`. It gives
/// the ids of transformers' `BertTokenizer` with `truncation=True`, without padding.
///
/// Safe for use by several threads. Close it to free the native vocabulary.
public final class BertTokenizer implements AutoCloseable {
    private static final String FILE = "vocab.txt";
    private static final String UNKNOWN = "[UNK]";
    private static final String START = "[CLS]";
    private static final String END = "[SEP]";

    /// Tokens that the vocabulary must have.
    private static final List<String> SPECIAL = List.of("[PAD]", UNKNOWN, START, END, "[MASK]");

    /// Tokens that BLIP adds after the vocabulary.
    private static final List<String> ADDED = List.of("[DEC]", "[ENC]");

    private static final int LONGEST_WORD = 100;

    private final HuggingFaceTokenizer tokenizer;
    private final Map<String, Long> ids;

    private BertTokenizer(HuggingFaceTokenizer tokenizer, Map<String, Long> ids) {
        this.tokenizer = tokenizer;
        this.ids = ids;
    }

    /// Opens the tokenizer of a folder.
    ///
    /// @throws TokenizerException when there is no `vocab.txt`, or it is not a vocabulary of BERT
    /// @throws IOException when the file cannot be read
    public static BertTokenizer open(TokenizerFiles files) throws IOException {
        Map<String, Long> ids = vocabulary(files);
        List<Object> added = new ArrayList<>();
        for (List<String> tokens : List.of(SPECIAL, ADDED)) {
            for (String token : tokens) {
                added.add(Map.of(
                        "id", ids.get(token),
                        "content", token,
                        "normalized", false,
                        "lstrip", false,
                        "rstrip", false,
                        "single_word", false,
                        "special", true));
            }
        }
        Map<String, Object> normalizer = new LinkedHashMap<>();
        normalizer.put("type", "BertNormalizer");
        normalizer.put("clean_text", true);
        normalizer.put("handle_chinese_chars", true);
        normalizer.put("strip_accents", null);
        normalizer.put("lowercase", true);
        Map<String, Object> model = new LinkedHashMap<>();
        model.put("type", "WordPiece");
        model.put("unk_token", UNKNOWN);
        model.put("continuing_subword_prefix", "##");
        model.put("max_input_chars_per_word", LONGEST_WORD);
        model.put("vocab", ids);
        Map<String, Object> definition = new LinkedHashMap<>();
        definition.put("version", "1.0");
        definition.put("truncation", null);
        definition.put("padding", null);
        definition.put("added_tokens", added);
        definition.put("normalizer", normalizer);
        definition.put("pre_tokenizer", Map.of("type", "BertPreTokenizer"));
        definition.put("post_processor", null);
        definition.put("decoder", Map.of("type", "WordPiece", "prefix", "##", "cleanup", true));
        definition.put("model", model);
        return new BertTokenizer(TokenizerLibrary.load(files.place(FILE), Json.canonical(definition)), ids);
    }

    /// Reads the vocabulary: one token per line, whose number is its id.
    private static Map<String, Long> vocabulary(TokenizerFiles files) throws IOException {
        String place = files.place(FILE);
        byte[] bytes = files.read(FILE)
                .orElseThrow(() -> new TokenizerException(place
                        + ": expected the vocabulary of bert-base-uncased, found nothing; copy its vocab.txt there, or"
                        + " name the folder that has it with --processor"));
        Map<String, Long> ids = new LinkedHashMap<>();
        long line = 0;
        for (String token : ClipVocabulary.text(place, bytes).split("\n", -1)) {
            ids.put(token.endsWith("\r") ? token.substring(0, token.length() - 1) : token, line++);
        }
        // A final newline ends the last token.
        ids.remove("", line - 1);
        for (String token : SPECIAL) {
            if (!ids.containsKey(token)) {
                throw new TokenizerException(
                        place + ": expected a vocabulary of BERT, found none with the token " + token);
            }
        }
        for (String token : ADDED) {
            ids.putIfAbsent(token, (long) ids.size());
        }
        return ids;
    }

    /// Number of tokens, including BLIP's.
    public int size() {
        return ids.size();
    }

    /// Returns the SHA-256 of the vocabulary.
    public String digest() {
        return Digest.sha256(Json.canonical(ids).getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    /// Encodes a text: the start token, its tokens and the end token.
    ///
    /// @param length largest number of ids; a text that is too long keeps its beginning
    /// @throws IllegalArgumentException when the text is not Unicode: half a surrogate pair stands alone
    public int[] encode(String text, int length) {
        TokenizerLibrary.requireUnicode(text);
        long[] words = tokenizer.encode(text, false, false).getIds();
        int kept = Math.min(words.length, length - 2);
        int[] all = new int[kept + 2];
        all[0] = ids.get(START).intValue();
        for (int i = 0; i < kept; i++) {
            all[1 + i] = Math.toIntExact(words[i]);
        }
        all[1 + kept] = ids.get(END).intValue();
        return all;
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
