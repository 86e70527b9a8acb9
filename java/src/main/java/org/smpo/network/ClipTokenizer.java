package org.smpo.network;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// CLIP's tokenizer, read from the files of a diffusers folder. It gives the ids of transformers'
/// `CLIPTokenizer` with `padding="max_length", truncation=True`.
///
/// The work is done by the Rust library `tokenizers`, which DJL brings along. It is unpacked from DJL's
/// jar into `~/.cache/smpo/djl`; nothing is downloaded, and DJL's usage reports are switched off (by
/// default it sends them from Amazon's machines).
///
/// Safe for use by several threads. Close it to free the native vocabulary.
public final class ClipTokenizer implements AutoCloseable {
    /// transformers 5.23, models/clip/tokenization_clip.py.
    private static final String WORDS =
            "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]" + "|[^\\s\\p{L}\\p{N}]+";

    private final HuggingFaceTokenizer tokenizer;
    private final int length;
    private final int start;
    private final int end;
    private final int pad;

    private ClipTokenizer(HuggingFaceTokenizer tokenizer, int length, int start, int end, int pad) {
        this.tokenizer = tokenizer;
        this.length = length;
        this.start = start;
        this.end = end;
        this.pad = pad;
    }

    /// Opens a tokenizer: `tokenizer.json`, or else `vocab.json` and `merges.txt`; and, where they
    /// are there, `tokenizer_config.json` and `special_tokens_map.json`.
    ///
    /// @throws java.nio.file.NoSuchFileException when there is no tokenizer, naming what was looked for
    /// @throws TokenizerException when the files are broken, do not belong together or need what we do
    ///     not support
    /// @throws IOException when a file cannot be read or is not the JSON that it should be
    public static ClipTokenizer open(TokenizerFiles files) throws IOException {
        Optional<JsonObject> one = json(files, "tokenizer.json");
        ClipVocabulary vocabulary = one.isPresent()
                ? ClipVocabulary.read(one.get(), files.place("tokenizer.json"))
                : ClipVocabulary.read(files);
        SpecialTokens special = SpecialTokens.read(files, one);
        int start = vocabulary.id(special.start());
        int end = vocabulary.id(special.end());
        int pad = vocabulary.id(special.pad());
        String definition = Json.canonical(definition(vocabulary, special));
        return new ClipTokenizer(TokenizerLibrary.load(files.place(""), definition), special.length(), start, end, pad);
    }

    /// Reads a file that holds one JSON object; empty where there is none.
    static Optional<JsonObject> json(TokenizerFiles files, String name) throws IOException {
        Optional<byte[]> bytes = files.read(name);
        return bytes.isEmpty()
                ? Optional.empty()
                : Optional.of(Json.parseObject(files.place(name), ClipVocabulary.text(files.place(name), bytes.get())));
    }

    /// Number of ids of a row: 77.
    public int length() {
        return length;
    }

    /// Id of the token that begins every row.
    public int startId() {
        return start;
    }

    /// Id of the token that ends every row's text. The text models take their pooled output at its first
    /// position.
    public int endId() {
        return end;
    }

    /// Id of the token that fills every row after the end token: often the end token itself, in SDXL's
    /// second tokenizer 0.
    public int padId() {
        return pad;
    }

    /// Encodes one prompt. A prompt that is too long keeps its beginning; [ClipTokens#cut()] is the
    /// rest.
    ///
    /// @throws IllegalArgumentException when the prompt is not Unicode text: half a surrogate pair
    ///     stands alone
    public ClipTokens encode(String prompt) {
        TokenizerLibrary.requireUnicode(prompt);
        Encoding encoding = tokenizer.encode(prompt, false, false);
        long[] text = encoding.getIds();
        int kept = Math.min(text.length, length - 2);
        int[] ids = new int[length];
        ids[0] = start;
        for (int i = 0; i < kept; i++) {
            ids[1 + i] = Math.toIntExact(text[i]);
        }
        ids[1 + kept] = end;
        Arrays.fill(ids, kept + 2, length, pad);
        String cut = kept == text.length ? "" : from(prompt, encoding.getCharTokenSpans()[kept]);
        return new ClipTokens(ids, kept + 2, cut);
    }

    /// Encodes prompts, each on its own.
    ///
    /// @throws IllegalArgumentException when one of them is not Unicode text, naming its index
    public List<ClipTokens> encode(List<String> prompts) {
        List<ClipTokens> rows = new ArrayList<>(prompts.size());
        for (String prompt : prompts) {
            try {
                rows.add(encode(prompt));
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException("prompt " + rows.size() + ": " + e.getMessage(), e);
            }
        }
        return rows;
    }

    @Override
    public void close() {
        tokenizer.close();
    }

    /// Spans count code points.
    private static String from(String prompt, CharSpan first) {
        return prompt.substring(prompt.offsetByCodePoints(0, first.getStart()));
    }

    /// The tokenizer that transformers builds for CLIP, as the content of a `tokenizer.json`. The start
    /// and end tokens of a row are left to [#encode], which must know where the text ends anyway.
    private static Map<String, Object> definition(ClipVocabulary vocabulary, SpecialTokens special) throws IOException {
        List<Object> added = new ArrayList<>();
        for (SpecialTokens.AddedToken token : special.added()) {
            added.add(Map.of(
                    "id", vocabulary.id(token.content()),
                    "content", token.content(),
                    "normalized", token.normalized(),
                    "lstrip", token.leftStrip(),
                    "rstrip", token.rightStrip(),
                    "single_word", token.singleWord(),
                    "special", true));
        }
        Map<String, Object> normalizer = Map.of(
                "type",
                "Sequence",
                "normalizers",
                List.of(
                        Map.of("type", "NFC"),
                        Map.of("type", "Replace", "pattern", Map.of("Regex", "\\s+"), "content", " "),
                        Map.of("type", "Lowercase")));
        Map<String, Object> split =
                Map.of("type", "Split", "pattern", Map.of("Regex", WORDS), "behavior", "Removed", "invert", true);
        Map<String, Object> bytes =
                Map.of("type", "ByteLevel", "add_prefix_space", false, "trim_offsets", true, "use_regex", true);
        Map<String, Object> model = new LinkedHashMap<>();
        model.put("type", "BPE");
        model.put("dropout", null);
        model.put("unk_token", special.unknown());
        model.put("continuing_subword_prefix", "");
        model.put("end_of_word_suffix", ClipVocabulary.END_OF_WORD);
        model.put("fuse_unk", false);
        model.put("byte_fallback", false);
        model.put("ignore_merges", false);
        model.put("vocab", vocabulary.ids());
        model.put("merges", vocabulary.merges());
        Map<String, Object> definition = new LinkedHashMap<>();
        definition.put("version", "1.0");
        definition.put("truncation", null);
        definition.put("padding", null);
        definition.put("added_tokens", added);
        definition.put("normalizer", normalizer);
        definition.put("pre_tokenizer", Map.of("type", "Sequence", "pretokenizers", List.of(split, bytes)));
        definition.put("post_processor", null);
        definition.put("decoder", bytes);
        definition.put("model", model);
        return definition;
    }
}
