package org.smpo.recipe;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Pattern;

/// Writes records as YAML: every component in its declared order, names in snake_case, so that equal
/// recipes make equal bytes. An absent integer of 32 bits is `auto`, any other absent value `none`; the
/// reader accepts the same.
final class ResolvedText {
    /// Text that YAML 1.2 reads as text without quotes, also in a list.
    private static final Pattern PLAIN = Pattern.compile("[A-Za-z_./][A-Za-z0-9_./+=@-]*(:[A-Za-z0-9_./+=@-]+)*");

    /// Words with another meaning in YAML or in a recipe.
    private static final Set<String> WORDS =
            Set.of("true", "false", "null", Section.NONE, Section.AUTO, Section.INFINITY, "data");

    private ResolvedText() {}

    /// A word with a meaning, such as `none`.
    record Word(String text) {}

    static String of(Map<String, Object> fields) {
        StringBuilder out = new StringBuilder();
        writeFields(out, fields, 0);
        return out.toString();
    }

    /// The record's components by their names in YAML.
    static Map<String, Object> components(Record value) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (RecordComponent component : value.getClass().getRecordComponents()) {
            try {
                fields.put(
                        Section.snakeCase(component.getName()),
                        component.getAccessor().invoke(value));
            } catch (IllegalAccessException | InvocationTargetException e) {
                throw new LinkageError("the records of a recipe are public", e);
            }
        }
        return fields;
    }

    /// A mapping that begins with the name of its kind.
    static Map<String, Object> kind(String key, String name, Record value) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put(key, new Word(name));
        fields.putAll(components(value));
        return fields;
    }

    /// Reduces a value to mappings, lists and scalars.
    private static Object simple(Object value) {
        return switch (value) {
            case Written written -> simple(written.written());
            case Record fields when !(value instanceof Word) -> components(fields);
            case Enum<?> constant -> new Word(Section.word(constant));
            case Path path -> path.toString();
            case Optional<?> some -> some.isEmpty() ? new Word(Section.NONE) : simple(some.get());
            case OptionalInt some -> some.isEmpty() ? new Word(Section.AUTO) : some.getAsInt();
            case OptionalLong some -> some.isEmpty() ? new Word(Section.NONE) : some.getAsLong();
            case OptionalDouble some -> some.isEmpty() ? new Word(Section.NONE) : some.getAsDouble();
            default -> value;
        };
    }

    private static void writeFields(StringBuilder out, Map<?, ?> fields, int depth) {
        for (Map.Entry<?, ?> field : fields.entrySet()) {
            out.repeat(' ', 2 * depth).append(field.getKey()).append(':');
            switch (simple(field.getValue())) {
                case Map<?, ?> below
                when !below.isEmpty() -> {
                    out.append('\n');
                    writeFields(out, below, depth + 1);
                }
                case List<?> items -> out.append(' ').append(list(items)).append('\n');
                case Map<?, ?> empty -> out.append(" {}\n");
                case Object scalar -> out.append(' ').append(scalar(scalar)).append('\n');
            }
        }
    }

    private static String list(List<?> items) {
        List<String> texts = new ArrayList<>();
        items.forEach(item -> texts.add(scalar(simple(item))));
        return "[" + String.join(", ", texts) + "]";
    }

    private static String scalar(Object value) {
        return switch (value) {
            case Word word -> word.text();
            case String text -> PLAIN.matcher(text).matches() && !WORDS.contains(text) ? text : quoted(text);
            case Double number -> number(number);
            case Boolean flag -> flag.toString();
            case Integer number -> number.toString();
            case Long number -> number.toString();
            default -> throw new AssertionError("no form in YAML: " + value.getClass());
        };
    }

    /// The shortest form that reads back the same; a whole number without its `.0`.
    private static String number(double value) {
        if (value == Double.POSITIVE_INFINITY) {
            return Section.INFINITY;
        }
        String text = Double.toString(value).replace('E', 'e');
        return text.endsWith(".0") ? text.substring(0, text.length() - 2) : text;
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        text.codePoints().forEach(c -> {
            if (c == '"' || c == '\\') {
                out.append('\\').appendCodePoint(c);
            } else if (c == '\n') {
                out.append("\\n");
            } else if (c < ' ' || (c >= 0x7f && c <= 0xa0) || c == 0x2028 || c == 0x2029 || isUnprintable(c)) {
                out.append(String.format("\\u%04x", c));
            } else {
                out.appendCodePoint(c);
            }
        });
        return out.append('"').toString();
    }

    private static boolean isUnprintable(int c) {
        return c == 0xfeff || c == 0xfffe || c == 0xffff || (c >= 0xd800 && c <= 0xdfff);
    }
}
