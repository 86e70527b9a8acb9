package org.smpo.ffi;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The declarations of `smpo.h`, parsed from its text: functions, structs with their offsets in C,
/// constants.
///
/// Reads the small part of C that the header uses, and throws on a declaration outside it rather than skip it.
///
/// @param functions the C types of the parameters, by function name, in the header's order
/// @param structs the fields, by struct name
/// @param constants the values, by name
record Header(Map<String, List<Type>> functions, Map<String, List<Field>> structs, Map<String, Long> constants) {

    /// A C type as the ABI distinguishes it: by its width, or as a pointer.
    enum Type {
        POINTER(8),
        INT32(4),
        INT64(8),
        DOUBLE(8),
        CHAR(1);

        final int bytes;

        Type(int bytes) {
            this.bytes = bytes;
        }
    }

    /// @param count elements of an array, 1 for a plain field
    record Field(String name, Type type, int count, long offset) {}

    private static final Pattern COMMENT = Pattern.compile("/\\*.*?\\*/", Pattern.DOTALL);
    private static final Pattern TYPEDEF = Pattern.compile("typedef (\\w+) (\\w+);");
    private static final Pattern STRUCT = Pattern.compile("typedef struct (\\w+) \\{(.*?)\\} (\\w+);", Pattern.DOTALL);
    private static final Pattern ENUM = Pattern.compile("(?<!typedef )enum (?:\\w+ )?\\{(.*?)\\};", Pattern.DOTALL);
    private static final Pattern CONSTANT = Pattern.compile("(\\w+) = (-?\\d+)");
    private static final Pattern FUNCTION = Pattern.compile("smpo_status (\\w+)\\(([^)]*)\\);");
    private static final Pattern PARAMETER = Pattern.compile("(const )?(\\w+) (\\*?)(\\w+)");
    private static final Pattern FIELD =
            Pattern.compile("(?:const )?(\\w+) ((?:\\*(?:const )?)*)(\\w+)(?:\\[(\\d+)])?");

    static Header parse(String text) {
        String code = COMMENT.matcher(text).replaceAll("");
        Map<String, Type> scalars = new LinkedHashMap<>(Map.of(
                "int32_t", Type.INT32,
                "uint32_t", Type.INT32,
                "int64_t", Type.INT64,
                "uint64_t", Type.INT64,
                "double", Type.DOUBLE,
                "char", Type.CHAR));
        Matcher typedef = TYPEDEF.matcher(code);
        while (typedef.find()) {
            scalars.put(typedef.group(2), scalar(scalars, typedef.group(1)));
        }
        Map<String, Long> constants = new LinkedHashMap<>();
        Matcher enums = ENUM.matcher(code);
        while (enums.find()) {
            for (String item : enums.group(1).split(",", -1)) {
                if (!item.isBlank()) {
                    Matcher constant = matched(CONSTANT, item.strip());
                    constants.put(constant.group(1), Long.parseLong(constant.group(2)));
                }
            }
        }
        Map<String, List<Field>> structs = new LinkedHashMap<>();
        Matcher struct = STRUCT.matcher(code);
        while (struct.find()) {
            structs.put(struct.group(1), fields(struct.group(2), scalars));
        }
        Map<String, List<Type>> functions = new LinkedHashMap<>();
        Matcher function = FUNCTION.matcher(code);
        while (function.find()) {
            List<Type> parameters = new ArrayList<>();
            for (String item : function.group(2).split(",", -1)) {
                Matcher parameter = matched(PARAMETER, item.strip().replaceAll("\\s+", " "));
                parameters.add(parameter.group(3).isEmpty() ? scalar(scalars, parameter.group(2)) : Type.POINTER);
            }
            functions.put(function.group(1), parameters);
        }
        requireAllRead(code, functions);
        return new Header(functions, structs, constants);
    }

    /// Bytes of a struct, padding included.
    static long size(List<Field> fields) {
        int alignment = fields.stream().mapToInt(f -> f.type().bytes).max().orElse(1);
        Field last = fields.getLast();
        return roundUp(last.offset() + (long) last.type().bytes * last.count(), alignment);
    }

    private static List<Field> fields(String body, Map<String, Type> scalars) {
        List<Field> fields = new ArrayList<>();
        long offset = 0;
        for (String item : body.split(";", -1)) {
            if (item.isBlank()) {
                continue;
            }
            Matcher field = matched(FIELD, item.strip().replaceAll("\\s+", " "));
            Type type = field.group(2).isEmpty() ? scalar(scalars, field.group(1)) : Type.POINTER;
            int count = field.group(4) == null ? 1 : Integer.parseInt(field.group(4));
            offset = roundUp(offset, type.bytes);
            fields.add(new Field(field.group(3), type, count, offset));
            offset += (long) type.bytes * count;
        }
        return fields;
    }

    private static long roundUp(long offset, int alignment) {
        return (offset + alignment - 1) / alignment * alignment;
    }

    private static Type scalar(Map<String, Type> scalars, String name) {
        Type type = scalars.get(name);
        if (type == null) {
            throw new IllegalArgumentException("smpo.h uses a type that the border does not know: " + name);
        }
        return type;
    }

    private static Matcher matched(Pattern pattern, String text) {
        Matcher matcher = pattern.matcher(text);
        if (!matcher.matches()) {
            throw new IllegalArgumentException("smpo.h: not understood: " + text);
        }
        return matcher;
    }

    /// Every name that is followed by a parenthesis must have been parsed as a function.
    private static void requireAllRead(String code, Map<String, List<Type>> functions) {
        Matcher call = Pattern.compile("(smpo_\\w+)\\s*\\(").matcher(code);
        while (call.find()) {
            if (!functions.containsKey(call.group(1))) {
                throw new IllegalArgumentException("smpo.h: not understood: " + call.group(1));
            }
        }
    }
}
