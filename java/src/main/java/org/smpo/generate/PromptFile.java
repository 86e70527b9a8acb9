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
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import org.smpo.io.Json;
import org.smpo.io.JsonException;
import org.smpo.io.JsonObject;
import org.smpo.io.TextStart;
import org.smpo.network.Prompt;

/// Reads prompts from a file of UTF-8 text. The end of its name decides the format:
///
/// ```text
/// .txt, none     a prompt on each line, spaces included
/// .jsonl         a text or an object on each line: prompt and, optionally, negative_prompt, seed and category
/// .json          a list of texts or of such objects
/// .tsv, .csv     a table whose first line names its columns: Prompt and, optionally, Category
/// ```
///
/// `prompts`, `caption` and `text` are read like `prompt`. Other keys and columns are skipped, as in the files of
/// PartiPrompts, DrawBench, GenEval and HPSv2. Blank lines are skipped, and so is a byte order mark. Lines end in
/// `\n` or `\r\n`.
public final class PromptFile {
    /// Names of the prompt, the usual one first.
    static final List<String> PROMPT = List.of("prompt", "prompts", "caption", "text");

    static final String CATEGORY = "category";

    private static final String NEGATIVE = "negative_prompt";
    private static final String SEED = "seed";

    private PromptFile() {}

    /// A line of a file.
    ///
    /// @param number Number of the line, from 1
    record Line(int number, String text) {}

    /// Reads a file.
    ///
    /// @return at least one prompt
    /// @throws PromptFileException naming the line that is not UTF-8 or not a prompt, or when there is no
    ///     prompt or the
    ///     format is not known
    /// @throws IOException when the file cannot be read
    public static List<Prompt> read(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        int dot = name.lastIndexOf('.');
        List<Line> lines = lines(file, bytes);
        List<Prompt> prompts = switch (dot <= 0 ? "" : name.substring(dot)) {
            case "", ".txt" ->
                lines.stream()
                        .filter(line -> !line.text().isBlank())
                        .map(line -> Prompt.of(line.text()))
                        .toList();
            case ".jsonl" -> objects(file, lines);
            case ".json" -> list(file, lines);
            case ".tsv" -> PromptTable.tabs(file, lines);
            case ".csv" -> PromptTable.commas(file, lines);
            default ->
                throw new PromptFileException(file + ": expected a file of prompts, .txt, .jsonl, .json, .tsv or"
                        + " .csv, found " + name.substring(dot));
        };
        if (prompts.isEmpty()) {
            throw new PromptFileException(file + ": expected a prompt, found none in " + lines.size() + " lines");
        }
        return Collections.unmodifiableList(prompts);
    }

    private static List<Line> lines(Path file, byte[] bytes) throws PromptFileException {
        List<Line> lines = new ArrayList<>();
        int begin = afterMark(file, bytes);
        while (begin < bytes.length) {
            int end = begin;
            while (end < bytes.length && bytes[end] != '\n') {
                end++;
            }
            int number = lines.size() + 1;
            lines.add(new Line(number, decode(file, number, ByteBuffer.wrap(bytes, begin, end - begin))));
            begin = end + 1;
        }
        return lines;
    }

    private static List<Prompt> objects(Path file, List<Line> lines) throws PromptFileException {
        List<Prompt> prompts = new ArrayList<>();
        for (Line line : lines) {
            if (!line.text().isBlank()) {
                String where = file + ": line " + line.number();
                try {
                    // A text alone is one item of a list.
                    prompts.addAll(
                            line.text().stripLeading().startsWith("\"")
                                    ? items(where, "[" + line.text() + "]")
                                    : List.of(prompt(Json.parseObject(where, line.text()))));
                } catch (JsonException e) {
                    throw new PromptFileException(e.getMessage(), e);
                }
            }
        }
        return prompts;
    }

    private static List<Prompt> list(Path file, List<Line> lines) throws PromptFileException {
        try {
            return items(
                    file.toString(),
                    String.join("\n", lines.stream().map(Line::text).toList()));
        } catch (JsonException e) {
            throw new PromptFileException(e.getMessage(), e);
        }
    }

    /// Reads the items of a JSON list.
    private static List<Prompt> items(String where, String text) throws PromptFileException, JsonException {
        List<Prompt> prompts = new ArrayList<>();
        for (Object item : Json.parseList(where, text)) {
            switch (item) {
                case String prompt -> prompts.add(Prompt.of(prompt));
                case JsonObject object -> prompts.add(prompt(object));
                case null, default ->
                    throw new PromptFileException(where + ": item " + (prompts.size() + 1)
                            + ": expected a text or an object with a prompt, found " + item);
            }
        }
        return prompts;
    }

    private static int afterMark(Path file, byte[] bytes) throws PromptFileException {
        try {
            return TextStart.of(file, bytes).length();
        } catch (IOException e) {
            throw new PromptFileException(e.getMessage(), e);
        }
    }

    private static String decode(Path file, int number, ByteBuffer line) throws PromptFileException {
        int begin = line.position();
        CharBuffer text = CharBuffer.allocate(line.remaining());
        // A decoder reports what it cannot decode by default.
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

    private static Prompt prompt(JsonObject object) throws JsonException {
        String key = PROMPT.stream().filter(object::has).findFirst().orElse(PROMPT.getFirst());
        for (String optional : List.of(NEGATIVE, SEED, CATEGORY)) {
            object.rejectMisspelled(optional);
        }
        return new Prompt(
                object.string(key),
                object.has(NEGATIVE) ? object.string(NEGATIVE) : null,
                object.has(SEED) ? OptionalLong.of(object.integer(SEED)) : OptionalLong.empty(),
                object.has(CATEGORY) ? object.string(CATEGORY) : null);
    }
}
