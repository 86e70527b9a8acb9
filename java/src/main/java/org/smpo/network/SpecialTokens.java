package org.smpo.network;

import java.io.IOException;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// The settings of `tokenizer_config.json` and its companions: the tokens that begin, end and pad a row,
/// the row's length, and the tokens that are matched in the text before it is split into words.
///
/// The last is not a detail: SDXL's second tokenizer names "!" as its padding, so that in it, unlike in
/// the first, every exclamation mark of a prompt is a token of its own with id 0.
///
/// The rules are those of transformers 5: tokens of `special_tokens_map.json` replace those of the
/// configuration, unless that has an `added_tokens_decoder`; a token given as an object keeps its flags,
/// one given as text is matched before normalization; of two entries for the same token the later
/// counts, in the order start, end, unknown, padding.
///
/// @param start Token that begins a row
/// @param end Token that ends a row
/// @param unknown Token for what the vocabulary cannot spell
/// @param pad Token that fills a row
/// @param length Length of a row
/// @param added Tokens that are matched in the text before it is split into words
record SpecialTokens(String start, String end, String unknown, String pad, int length, List<AddedToken> added) {
    private static final String CONFIG = "tokenizer_config.json";
    private static final String MAP = "special_tokens_map.json";
    private static final String DECODER = "added_tokens_decoder";
    private static final int DEFAULT_LENGTH = 77;
    private static final int MAX_LENGTH = 1 << 16;

    /// The start and the end token around at least one more.
    private static final int MIN_LENGTH = 3;

    private static final Map<String, String> DEFAULTS = new LinkedHashMap<>();

    static {
        DEFAULTS.put("bos_token", "<|startoftext|>");
        DEFAULTS.put("eos_token", "<|endoftext|>");
        DEFAULTS.put("unk_token", "<|endoftext|>");
        DEFAULTS.put("pad_token", "<|endoftext|>");
    }

    /// A token that is matched in the text before it is split into words.
    ///
    /// @param content Text to match
    /// @param normalized Whether it is matched in the normalized (lowercase) text instead of the text as
    ///     written
    /// @param leftStrip Whether it absorbs white space before it
    /// @param rightStrip Whether it absorbs white space after it
    /// @param singleWord Whether it must stand between word boundaries
    record AddedToken(String content, boolean normalized, boolean leftStrip, boolean rightStrip, boolean singleWord) {
        static AddedToken plain(String content) {
            return new AddedToken(content, false, false, false, false);
        }
    }

    /// Reads a tokenizer's files.
    ///
    /// @param tokenizer `tokenizer.json`; empty where there is none
    static SpecialTokens read(TokenizerFiles files, Optional<JsonObject> tokenizer) throws IOException {
        Optional<JsonObject> configFile = ClipTokenizer.json(files, CONFIG);
        JsonObject config = configFile.isPresent()
                ? configFile.get()
                : Json.parseObject(files.place("") + " (without " + CONFIG + ")", "{}");
        refuseWhatWeDoNotDo(files, config);

        Map<String, Object> named = new LinkedHashMap<>(DEFAULTS);
        take(config, named);
        Map<String, AddedToken> known = new LinkedHashMap<>();
        if (config.has(DECODER)) {
            JsonObject decoder = config.object(DECODER);
            for (String id : decoder.keys()) {
                AddedToken token = token(
                        config.source(), DECODER + "." + id, decoder.object(id).asMap());
                known.put(token.content(), token);
            }
        } else {
            ClipTokenizer.json(files, MAP).ifPresent(map -> take(map, named));
            if (tokenizer.isPresent() && tokenizer.get().has("added_tokens")) {
                for (JsonObject object : tokenizer.get().objects("added_tokens")) {
                    AddedToken token = token(tokenizer.get().source(), "added_tokens", object.asMap());
                    known.put(token.content(), token);
                }
            }
        }

        Map<String, AddedToken> added = new LinkedHashMap<>(known);
        Map<String, String> contents = new HashMap<>();
        for (Map.Entry<String, Object> entry : named.entrySet()) {
            AddedToken own = entry.getValue() instanceof String text
                    ? AddedToken.plain(text)
                    : token(config.source(), entry.getKey(), entry.getValue());
            AddedToken token = known.getOrDefault(own.content(), own);
            contents.put(entry.getKey(), token.content());
            added.put(token.content(), token);
        }
        return new SpecialTokens(
                contents.get("bos_token"),
                contents.get("eos_token"),
                contents.get("unk_token"),
                contents.get("pad_token"),
                length(config),
                List.copyOf(added.values()));
    }

    /// Takes over the named tokens that a file gives; null gives nothing.
    private static void take(JsonObject file, Map<String, Object> named) {
        for (String key : DEFAULTS.keySet()) {
            if (file.has(key)) {
                named.put(key, file.asMap().get(key));
            }
        }
    }

    private static AddedToken token(String source, String where, Object value) throws TokenizerException {
        if (value instanceof Map<?, ?> map && map.get("content") instanceof String content) {
            return new AddedToken(
                    content,
                    Boolean.TRUE.equals(map.get("normalized")),
                    Boolean.TRUE.equals(map.get("lstrip")),
                    Boolean.TRUE.equals(map.get("rstrip")),
                    Boolean.TRUE.equals(map.get("single_word")));
        }
        throw new TokenizerException(
                source + ": " + where + ": expected a token, as text or as an object with its content, found " + value);
    }

    private static int length(JsonObject config) throws IOException {
        if (!config.has("model_max_length")) {
            return DEFAULT_LENGTH;
        }
        if (config.asMap().get("model_max_length") instanceof BigInteger limit && limit.signum() > 0) {
            // transformers writes int(1e30) for "not set"; the text models take 77.
            return DEFAULT_LENGTH;
        }
        long length = config.integer("model_max_length");
        if (length < MIN_LENGTH || length > MAX_LENGTH) {
            throw new TokenizerException(config.source() + ": model_max_length: expected " + MIN_LENGTH + " to "
                    + MAX_LENGTH + ", found " + length);
        }
        return (int) length;
    }

    private static void refuseWhatWeDoNotDo(TokenizerFiles files, JsonObject config) throws IOException {
        List<String> refused = new ArrayList<>();
        for (String side : List.of("padding_side", "truncation_side")) {
            if (config.has(side) && !config.string(side).equals("right")) {
                refused.add(side + ": expected right, found " + config.string(side));
            }
        }
        if (config.has("split_special_tokens") && config.bool("split_special_tokens")) {
            refused.add("split_special_tokens: expected false, found true");
        }
        if (config.has("tokenizer_class") && !config.string("tokenizer_class").startsWith("CLIPTokenizer")) {
            refused.add("tokenizer_class: expected CLIPTokenizer, found " + config.string("tokenizer_class"));
        }
        for (String list : List.of("additional_special_tokens", "extra_special_tokens")) {
            if (config.asMap().get(list) instanceof List<?> tokens && !tokens.isEmpty()) {
                refused.add(list + ": expected none, found " + tokens);
            }
        }
        if (!refused.isEmpty()) {
            throw new TokenizerException(config.source() + ": " + String.join("; ", refused));
        }
        Optional<JsonObject> added = ClipTokenizer.json(files, "added_tokens.json");
        if (added.isPresent() && !added.get().keys().isEmpty()) {
            throw new TokenizerException(added.get().source() + ": expected no tokens beyond the vocabulary, found "
                    + added.get().keys());
        }
    }
}
