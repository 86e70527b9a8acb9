package org.smpo.io;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.core.json.JsonWriteFeature;

/// Strict JSON in, canonical JSON out.
///
/// Input is UTF-8 with one value, no duplicate keys, nothing after the value, non-integers within double's
/// range and at most 64 levels. Objects keep their order. Integers beyond 64 bits are kept exactly: Python's
/// have any size, and transformers writes 10^30 for "no limit".
///
/// Output has sorted keys, two spaces per level, `\n`, a final newline and the shortest decimal of each
/// double that reads
/// back the same. Equal values give equal bytes.
public final class Json {
    private static final int MAX_DEPTH = 64;

    /// Names that Python's json module writes for numbers that JSON cannot represent.
    private static final Set<String> PYTHON_NUMBERS = Set.of("NaN", "Infinity", "-Infinity");

    private static final JsonFactory FACTORY = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .streamReadConstraints(
                    StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
            .disable(JsonWriteFeature.ESCAPE_FORWARD_SLASHES)
            .build();

    private Json() {}

    /// Reads a file that holds one object.
    ///
    /// @throws JsonException when it is not valid JSON or not an object
    /// @throws IOException when it cannot be read
    public static JsonObject readObject(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        try {
            return parseObject(file.toString(), text(file, bytes));
        } catch (JsonException e) {
            Optional<String> content = FileContent.describe(file);
            if (content.isPresent()) {
                throw new JsonException(file + ": expected JSON, found " + content.get(), e);
            }
            throw e;
        }
    }

    /// The text of a UTF-8 file, without a byte order mark.
    private static String text(Path file, byte[] bytes) throws JsonException {
        try {
            return TextStart.decode(file, bytes);
        } catch (IOException e) {
            throw new JsonException(e.getMessage(), e);
        }
    }

    /// Reads text that holds one object.
    ///
    /// @param source name of the document, for messages
    /// @throws JsonException when it is not valid JSON or not an object
    public static JsonObject parseObject(String source, String text) throws JsonException {
        Object value = parse(source, text);
        if (value instanceof Map<?, ?> map) {
            return new JsonObject(source, "$", map);
        }
        throw new JsonException(source + ": $: expected an object, found " + JsonObject.describe(value));
    }

    /// Reads text that holds one list. Its objects are [JsonObject]s.
    ///
    /// @param source Place named in messages
    /// @throws JsonException when it is not valid JSON or not a list
    public static List<Object> parseList(String source, String text) throws JsonException {
        if (!(parse(source, text) instanceof List<?> list)) {
            throw new JsonException(source + ": $: expected a list, found another value");
        }
        List<Object> items = new ArrayList<>();
        for (Object item : list) {
            items.add(item instanceof Map<?, ?> map ? new JsonObject(source, "$[" + items.size() + "]", map) : item);
        }
        return Collections.unmodifiableList(items);
    }

    private static Object parse(String source, String text) throws JsonException {
        try (JsonParser parser = FACTORY.createParser(ObjectReadContext.empty(), text)) {
            if (parser.nextToken() == null) {
                throw new JsonException(source + ": expected a JSON value, found nothing");
            }
            Object value = value(source, parser);
            if (parser.nextToken() != null) {
                throw new JsonException(source + ": line "
                        + parser.currentTokenLocation().getLineNr() + ": expected the end, found more after the value");
            }
            return value;
        } catch (JacksonException e) {
            String where = e.getLocation() == null
                    ? ""
                    : ": line " + e.getLocation().getLineNr() + ", column "
                            + e.getLocation().getColumnNr();
            throw new JsonException(source + where + ": " + e.getOriginalMessage(), e);
        }
    }

    private static Object value(String source, JsonParser parser) throws JsonException {
        return switch (parser.currentToken()) {
            case START_OBJECT -> {
                Map<String, Object> map = new LinkedHashMap<>();
                while (parser.nextToken() != JsonToken.END_OBJECT) {
                    String key = parser.currentName();
                    parser.nextToken();
                    map.put(key, value(source, parser));
                }
                yield Collections.unmodifiableMap(map);
            }
            case START_ARRAY -> {
                List<Object> list = new ArrayList<>();
                while (parser.nextToken() != JsonToken.END_ARRAY) {
                    list.add(value(source, parser));
                }
                yield Collections.unmodifiableList(list);
            }
            case VALUE_STRING -> parser.getString();
            case VALUE_NUMBER_INT -> {
                if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
                    yield parser.getBigIntegerValue();
                }
                yield parser.getLongValue();
            }
            case VALUE_NUMBER_FLOAT -> {
                double number = parser.getDoubleValue();
                if (!Double.isFinite(number) && !PYTHON_NUMBERS.contains(parser.getString())) {
                    throw beyondDouble(source, parser);
                }
                yield number;
            }
            case VALUE_TRUE -> true;
            case VALUE_FALSE -> false;
            case VALUE_NULL -> null;
            default -> throw new JsonException(source + ": unexpected " + parser.currentToken());
        };
    }

    private static JsonException beyondDouble(String source, JsonParser parser) {
        String text = parser.getString();
        return new JsonException(
                source + ": line " + parser.currentTokenLocation().getLineNr()
                        + ": expected numbers within double's range, found "
                        + (text.length() > 40 ? text.substring(0, 40) + "..." : text));
    }

    /// Writes a value in canonical form.
    ///
    /// @param value Maps with text keys, collections, text, booleans, finite numbers and nulls; a [JsonObject]
    ///     may hold the
    ///     numbers that are not finite with which it was read
    /// @throws IllegalArgumentException for anything else, naming its path
    public static String canonical(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value, "$", 0, false);
        return out.append('\n').toString();
    }

    /// Writes a file in canonical form, whole or not at all.
    ///
    /// @throws IOException when it cannot be written; an old file is then untouched
    public static void write(Path file, Object value) throws IOException {
        AtomicFiles.write(file, canonical(value));
    }

    private static void write(StringBuilder out, Object value, String path, int depth, boolean python) {
        switch (value) {
            case null -> out.append("null");
            case Boolean b -> out.append(b.booleanValue());
            case Byte n -> out.append(n.longValue());
            case Short n -> out.append(n.longValue());
            case Integer n -> out.append(n.longValue());
            case Long n -> out.append(n.longValue());
            case BigInteger n -> out.append(n);
            case Float n -> number(out, n, Float.toString(n), path, python);
            case Double n -> number(out, n, Double.toString(n), path, python);
            case String text -> quote(out, text);
            case Map<?, ?> map -> members(out, map, path, depth, python);
            case JsonObject object -> members(out, object.asMap(), path, depth, true);
            case Iterable<?> items -> elements(out, items, path, depth, python);
            default ->
                throw new IllegalArgumentException("json: " + path + ": expected a map, collection, text, boolean or "
                        + "number, got " + value.getClass().getName());
        }
    }

    private static void number(StringBuilder out, double value, String text, String path, boolean python) {
        if (!Double.isFinite(value) && !python) {
            throw new IllegalArgumentException("json: " + path + ": expected a finite number, got " + text);
        }
        out.append(text);
    }

    private static void members(StringBuilder out, Map<?, ?> map, String path, int depth, boolean python) {
        if (map.isEmpty()) {
            out.append("{}");
            return;
        }
        Map<String, Object> sorted = new TreeMap<>();
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            if (!(entry.getKey() instanceof String key)) {
                throw new IllegalArgumentException("json: " + path + ": expected text as keys, got " + entry.getKey());
            }
            sorted.put(key, entry.getValue());
        }
        String separator = "{";
        for (Map.Entry<String, Object> entry : sorted.entrySet()) {
            newLine(out.append(separator), depth + 1);
            quote(out, entry.getKey());
            write(out.append(": "), entry.getValue(), path + "." + entry.getKey(), depth + 1, python);
            separator = ",";
        }
        newLine(out, depth);
        out.append('}');
    }

    private static void elements(StringBuilder out, Iterable<?> items, String path, int depth, boolean python) {
        String separator = "[";
        int index = 0;
        for (Object item : items) {
            newLine(out.append(separator), depth + 1);
            write(out, item, path + "[" + index++ + "]", depth + 1, python);
            separator = ",";
        }
        if (index == 0) {
            out.append("[]");
            return;
        }
        newLine(out, depth);
        out.append(']');
    }

    private static void newLine(StringBuilder out, int depth) {
        out.append('\n').repeat(' ', 2 * depth);
    }

    /// Escapes what JSON requires, and surrogates without their other half, which UTF-8 cannot represent.
    private static void quote(StringBuilder out, String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            boolean pair = Character.isHighSurrogate(c)
                    && i + 1 < text.length()
                    && Character.isLowSurrogate(text.charAt(i + 1));
            if (pair) {
                out.append(c).append(text.charAt(++i));
            } else if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c == '\n') {
                out.append("\\n");
            } else if (c == '\t') {
                out.append("\\t");
            } else if (c < ' ' || Character.isSurrogate(c)) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
