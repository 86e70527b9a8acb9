package org.smpo.generate;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.Set;
import org.smpo.io.Json;
import org.smpo.io.JsonException;
import org.smpo.io.JsonObject;
import org.smpo.network.Prompt;

/// Prompts in a file of UTF-8 text, by the end of its name:
///
/// | name | each line |
/// |---|---|
/// | `.jsonl` | an object with `prompt` and, optionally, `negative_prompt`, `seed` and `category` |
/// | `.tsv` | fields with tabs between them, the first line their names: `Prompt`, and optionally `Category`, |
/// | | as in PartiPrompts; other columns are passed over |
/// | other | a prompt as it is, spaces included |
///
/// Blank lines are skipped, and so is a byte order mark. Lines end in `\n` or `\r\n`. A field of a `.tsv` that
/// begins and ends with quotes and doubles those inside is what stands between them; any other is as it is.
public final class PromptFile {
    private static final String PROMPT = "prompt";
    private static final String NEGATIVE = "negative_prompt";
    private static final String SEED = "seed";
    private static final String CATEGORY = "category";
    private static final String QUOTE = "\"";

    private PromptFile() {}

    /// Reads a file.
    ///
    /// @return at least one prompt
    /// @throws PromptFileException naming the line that is not UTF-8 or not such an object, or when
    ///     there is no prompt
    /// @throws IOException when the file cannot be read
    public static List<Prompt> read(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        boolean json = name.endsWith(".jsonl");
        boolean table = name.endsWith(".tsv");
        Columns columns = null;
        List<Prompt> prompts = new ArrayList<>();
        int number = 0;
        int begin = afterMark(file, bytes);
        while (begin < bytes.length) {
            int end = begin;
            while (end < bytes.length && bytes[end] != '\n') {
                end++;
            }
            number++;
            String line = decode(file, number, ByteBuffer.wrap(bytes, begin, end - begin));
            String where = file + ": line " + number;
            if (line.isBlank()) {
                // Nothing stands there.
            } else if (json) {
                prompts.add(parse(where, line));
            } else if (!table) {
                prompts.add(Prompt.of(line));
            } else if (columns == null) {
                columns = Columns.of(where, line);
            } else {
                prompts.add(columns.prompt(where, line));
            }
            begin = end + 1;
        }
        if (prompts.isEmpty()) {
            throw new PromptFileException(file + ": expected a prompt, found none in " + number + " lines");
        }
        return Collections.unmodifiableList(prompts);
    }

    private static int afterMark(Path file, byte[] bytes) throws PromptFileException {
        if (begins(bytes, 0xef, 0xbb, 0xbf)) {
            return 3;
        }
        if (begins(bytes, 0xff, 0xfe) || begins(bytes, 0xfe, 0xff)) {
            throw new PromptFileException(file + ": line 1: expected UTF-8, found UTF-16: save the file as UTF-8");
        }
        return 0;
    }

    private static boolean begins(byte[] bytes, int... mark) {
        if (bytes.length < mark.length) {
            return false;
        }
        for (int i = 0; i < mark.length; i++) {
            if ((bytes[i] & 0xff) != mark[i]) {
                return false;
            }
        }
        return true;
    }

    private static String decode(Path file, int number, ByteBuffer line) throws PromptFileException {
        int begin = line.position();
        CharBuffer text = CharBuffer.allocate(line.remaining());
        // A decoder reports what it cannot decode, unless it is told otherwise.
        CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
        CoderResult result = decoder.decode(line, text, true);
        if (result.isError()) {
            throw new PromptFileException(String.format(
                    "%s: line %d, byte %d: expected UTF-8, found the byte 0x%02x: save the file as UTF-8",
                    file, number, line.position() - begin + 1, line.get(line.position())));
        }
        String decoded = text.flip().toString();
        return decoded.endsWith("\r") ? decoded.substring(0, decoded.length() - 1) : decoded;
    }

    private static Prompt parse(String where, String line) throws PromptFileException {
        try {
            JsonObject object = Json.parseObject(where, line);
            object.rejectUnknown(Set.of(PROMPT, NEGATIVE, SEED, CATEGORY));
            return new Prompt(
                    object.string(PROMPT),
                    object.has(NEGATIVE) ? object.string(NEGATIVE) : null,
                    object.has(SEED) ? OptionalLong.of(object.integer(SEED)) : OptionalLong.empty(),
                    object.has(CATEGORY) ? object.string(CATEGORY) : null);
        } catch (JsonException e) {
            throw new PromptFileException(e.getMessage(), e);
        }
    }

    /// Which fields of a table's lines say what.
    ///
    /// @param prompt place of the prompt
    /// @param category place of its category; negative: there is none
    private record Columns(int prompt, int category) {
        static Columns of(String where, String header) throws PromptFileException {
            List<String> names = fields(header).stream()
                    .map(name -> name.strip().toLowerCase(Locale.ROOT))
                    .toList();
            if (!names.contains(PROMPT)) {
                throw new PromptFileException(where + ": expected the names of the columns, Prompt among them, found "
                        + String.join(", ", fields(header)));
            }
            return new Columns(names.indexOf(PROMPT), names.indexOf(CATEGORY));
        }

        Prompt prompt(String where, String line) throws PromptFileException {
            List<String> fields = fields(line);
            if (fields.size() <= prompt || fields.get(prompt).isBlank()) {
                throw new PromptFileException(where + ": expected a prompt in column " + (prompt + 1) + ", found "
                        + (fields.size() <= prompt ? fields.size() + " columns" : "nothing there"));
            }
            String kind = category < 0 || category >= fields.size()
                    ? ""
                    : fields.get(category).strip();
            return new Prompt(fields.get(prompt), null, OptionalLong.empty(), kind.isEmpty() ? null : kind);
        }

        private static List<String> fields(String line) {
            return Arrays.stream(line.split("\t", -1)).map(Columns::unquoted).toList();
        }

        private static String unquoted(String field) {
            if (field.length() < 2 || !field.startsWith(QUOTE) || !field.endsWith(QUOTE)) {
                return field;
            }
            String inside = field.substring(1, field.length() - 1);
            return inside.replace("\"\"", "").contains(QUOTE) ? field : inside.replace("\"\"", QUOTE);
        }
    }
}
