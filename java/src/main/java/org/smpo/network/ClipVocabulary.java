package org.smpo.network;

import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TextStart;

/// CLIP's byte-pair vocabulary: the tokens' ids, and the merges in order of rank, each of two tokens.
///
/// Checked on reading: ids are distinct and not negative, and every merge joins tokens into a token.
/// Without these checks the tokenizer accepts truncated or edited merges and silently gives wrong ids.
///
/// @param source Place that the tokens came from, for messages
/// @param ids Ids by token
/// @param merges Pairs of tokens, in order of rank
record ClipVocabulary(String source, Map<String, Integer> ids, List<List<String>> merges) {
    /// The ending of the last piece of a word.
    static final String END_OF_WORD = "</w>";

    private static final String VERSION = "#version";

    /// Reads `vocab.json` and `merges.txt`.
    ///
    /// @throws NoSuchFileException when one of them is missing
    static ClipVocabulary read(TokenizerFiles files) throws IOException {
        String vocabFile = files.place("vocab.json");
        String vocabText = text(files, "vocab.json");
        Map<String, Integer> ids = ids(Json.parseObject(vocabFile, vocabText), vocabFile);
        List<List<String>> merges = new ArrayList<>();
        int number = 0;
        for (String line : text(files, "merges.txt").split("\n", -1)) {
            number++;
            String merge = line.endsWith("\r") ? line.substring(0, line.length() - 1) : line;
            if (merge.isEmpty() || merge.startsWith(VERSION)) {
                continue;
            }
            String where = files.place("merges.txt") + ": line " + number;
            merges.add(merge(where, List.of(merge.split(" ", -1)), ids));
        }
        return new ClipVocabulary(vocabFile, ids, Collections.unmodifiableList(merges));
    }

    /// Reads the model part of a `tokenizer.json`.
    static ClipVocabulary read(JsonObject tokenizer, String file) throws IOException {
        JsonObject model = tokenizer.object("model");
        expect(file, "model.type", "BPE", model.asMap().get("type"));
        expect(file, "model.end_of_word_suffix", END_OF_WORD, model.asMap().get("end_of_word_suffix"));
        Map<String, Integer> ids = ids(model.object("vocab"), file);
        List<List<String>> merges = new ArrayList<>();
        if (!(model.asMap().get("merges") instanceof List<?> items)) {
            throw new TokenizerException(file + ": model.merges: expected a list, found none");
        }
        for (Object item : items) {
            String where = file + ": model.merges[" + merges.size() + "]";
            // Two notations are in use: "a b", and since tokenizers 0.20 ["a", "b"].
            List<String> pair = switch (item) {
                case String text -> List.of(text.split(" ", -1));
                case List<?> list -> list.stream().map(String::valueOf).toList();
                default -> List.of();
            };
            merges.add(merge(where, pair, ids));
        }
        return new ClipVocabulary(file, ids, Collections.unmodifiableList(merges));
    }

    /// The id of a required token.
    int id(String token) throws TokenizerException {
        Integer id = ids.get(token);
        if (id == null) {
            throw new TokenizerException(source + ": expected the token " + token + " among " + ids.size()
                    + ", found none: is this a CLIP vocabulary?");
        }
        return id;
    }

    private static Map<String, Integer> ids(JsonObject vocabulary, String file) throws TokenizerException {
        Map<String, Integer> ids = new LinkedHashMap<>();
        Set<Integer> taken = new HashSet<>();
        for (Map.Entry<String, Object> entry : vocabulary.asMap().entrySet()) {
            boolean valid = entry.getValue() instanceof Long id && id >= 0 && id < Integer.MAX_VALUE;
            if (!valid || !taken.add(((Long) entry.getValue()).intValue())) {
                throw new TokenizerException(file + ": token \"" + entry.getKey()
                        + "\": expected an id of its own, an integer of at least 0, found " + entry.getValue());
            }
            ids.put(entry.getKey(), ((Long) entry.getValue()).intValue());
        }
        return Collections.unmodifiableMap(ids);
    }

    private static List<String> merge(String where, List<String> pair, Map<String, Integer> ids)
            throws TokenizerException {
        if (pair.size() != 2) {
            throw new TokenizerException(
                    where + ": expected two tokens and a space between them, found \"" + String.join(" ", pair) + "\"");
        }
        for (String token : List.of(pair.get(0), pair.get(1), pair.get(0) + pair.get(1))) {
            if (!ids.containsKey(token)) {
                throw new TokenizerException(where + ": the merge \"" + String.join(" ", pair) + "\" needs the token \""
                        + token + "\", which the vocabulary lacks: do the two files belong together?");
            }
        }
        return pair;
    }

    private static void expect(String file, String key, String expected, Object found) throws TokenizerException {
        if (!expected.equals(found)) {
            throw new TokenizerException(file + ": " + key + ": expected " + expected + ", found " + found);
        }
    }

    private static String text(TokenizerFiles files, String name) throws IOException {
        byte[] bytes = files.read(name)
                .orElseThrow(() -> new NoSuchFileException(files.place(name)
                        + ": expected a tokenizer here: tokenizer.json, or vocab.json and merges.txt; found no "
                        + name));
        return text(files.place(name), bytes);
    }

    /// Decodes a file without its byte order mark.
    ///
    /// @throws TokenizerException when it is not UTF-8
    static String text(String place, byte[] bytes) throws TokenizerException {
        try {
            return TextStart.decode(place, bytes);
        } catch (IOException e) {
            throw new TokenizerException(e.getMessage(), e);
        }
    }
}
