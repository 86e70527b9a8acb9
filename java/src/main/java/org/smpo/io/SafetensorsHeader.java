package org.smpo.io;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// Parses and checks the JSON header of a safetensors file.
///
/// The header has a fixed structure three levels deep, which is read in one pass over the bytes without a
/// tree or recursion. The parser is stricter than the reference implementation where no writer makes use of
/// it: duplicate keys, unknown keys beside dtype, shape and data_offsets, arrays instead of objects,
/// `"__metadata__": null`, white space other than spaces around the header, and dimensions beyond 2^63 − 1
/// are errors.
final class SafetensorsHeader {
    private static final String METADATA = "__metadata__";
    private static final int EXCERPT = 24;
    private static final String TRUNCATED = "; is the file truncated?";
    private static final String[] FIELDS = {"dtype", "shape", "data_offsets"};
    private static final byte[][] QUOTED_FIELDS = Arrays.stream(FIELDS)
            .map(field -> ("\"" + field + "\"").getBytes(StandardCharsets.UTF_8))
            .toArray(byte[][]::new);
    private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final Path file;
    private final byte[] json;
    private final long dataStart;
    private final long dataSize;
    private int at;

    // Where the parser is, for messages: the tensor or part, and its field. Composed only when there is an error.
    private String part = "header";
    private String field = "";

    private final Map<String, TensorEntry> byName;
    private final Map<String, String> metadata = new LinkedHashMap<>();
    private boolean metadataSeen;

    // The list of integers read last.
    private long[] numbers = new long[8];

    private SafetensorsHeader(Path file, byte[] json, long fileSize) {
        this.file = file;
        this.json = json;
        this.dataStart = 8 + (long) json.length;
        this.dataSize = fileSize - dataStart;
        // A tensor takes some 100 bytes of header.
        this.byName = HashMap.newHashMap(json.length / 100);
    }

    /// @param entries tensors in the order of their data
    record Parsed(List<TensorEntry> entries, Map<String, TensorEntry> byName, Map<String, String> metadata) {}

    /// @param file path of the file, for messages
    /// @param json bytes of the header
    /// @param fileSize size of the whole file; the data fills what follows the header
    static Parsed parse(Path file, byte[] json, long fileSize) throws SafetensorsException {
        requireUtf8(file, json);
        SafetensorsHeader header = new SafetensorsHeader(file, json, fileSize);
        header.object();
        return new Parsed(header.contiguous(), header.byName, header.metadata);
    }

    private static void requireUtf8(Path file, byte[] json) throws SafetensorsException {
        if (isAscii(json)) {
            return;
        }
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(json));
        } catch (CharacterCodingException e) {
            throw new SafetensorsException(file, "header", "UTF-8", "bytes that are not (" + e.getMessage() + ")");
        }
    }

    private static boolean isAscii(byte[] bytes) {
        long seen = 0;
        int i = 0;
        for (; i <= bytes.length - Long.BYTES; i += Long.BYTES) {
            seen |= (long) LONGS.get(bytes, i);
        }
        for (; i < bytes.length; i++) {
            seen |= bytes[i];
        }
        return (seen & 0x8080_8080_8080_8080L) == 0;
    }

    private void object() throws SafetensorsException {
        if (json.length == 0 || json[0] != '{') {
            throw error("'{' as its first byte", here());
        }
        at = 1;
        if (skipTo() == '}') {
            at++;
        } else {
            do {
                String name = string();
                part = name;
                expect(':');
                if (name.equals(METADATA)) {
                    metadata();
                } else {
                    tensor(name);
                }
                part = "header";
            } while (another('}'));
        }
        for (int i = at; i < json.length; i++) {
            if (json[i] != ' ') {
                at = i;
                throw error("only spaces after the closing '}'", here());
            }
        }
    }

    private void metadata() throws SafetensorsException {
        if (metadataSeen) {
            throw error("once", "a second one");
        }
        metadataSeen = true;
        expect('{');
        if (skipTo() == '}') {
            at++;
            return;
        }
        do {
            String key = string();
            field = key;
            expect(':');
            if (metadata.put(key, string()) != null) {
                throw error("once", "a second one");
            }
            field = "";
        } while (another('}'));
    }

    private void tensor(String name) throws SafetensorsException {
        expect('{');
        DType dtype = null;
        List<Long> shape = null;
        long begin = -1;
        long end = -1;
        if (skipTo() == '}') {
            throw error("dtype, shape and data_offsets", "an empty object");
        }
        do {
            String key = fieldName();
            field = key;
            expect(':');
            switch (key) {
                case "dtype" -> {
                    requireFirst(dtype == null);
                    String code = string();
                    dtype = DType.ofName(code);
                    if (dtype == null) {
                        throw error("a known dtype such as F16", quoted(code));
                    }
                }
                case "shape" -> {
                    requireFirst(shape == null);
                    shape = numberList(integers());
                }
                case "data_offsets" -> {
                    requireFirst(begin < 0);
                    int rank = integers();
                    if (rank != 2 || numbers[0] > numbers[1]) {
                        throw error(
                                "[begin, end] with begin <= end",
                                numberList(rank).toString());
                    }
                    begin = numbers[0];
                    end = numbers[1];
                }
                default -> {
                    field = "";
                    throw error("the keys dtype, shape and data_offsets", quoted(key));
                }
            }
            field = "";
        } while (another('}'));
        if (dtype == null || shape == null || begin < 0) {
            String missing = dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets";
            throw error("the key " + missing, "none");
        }
        long bytes = bytes(dtype, shape);
        if (bytes != end - begin) {
            field = "data_offsets";
            throw error(
                    bytes + " bytes for " + dtype + " " + shape,
                    "[" + begin + ", " + end + "], " + (end - begin) + " bytes");
        }
        if (begin > dataSize) {
            field = "data_offsets";
            throw error(
                    "data within the file's " + dataSize + " bytes of data",
                    "[" + begin + ", " + end + "]" + TRUNCATED);
        }
        if (byName.put(name, new TensorEntry(name, dtype, shape, dataStart + begin, bytes)) != null) {
            throw error("once", "a second tensor of that name");
        }
    }

    private void requireFirst(boolean first) throws SafetensorsException {
        if (!first) {
            throw error("once", "a second one");
        }
    }

    private long bytes(DType dtype, List<Long> shape) throws SafetensorsException {
        try {
            long elements = 1;
            for (long dimension : shape) {
                elements = Math.multiplyExact(elements, dimension);
            }
            return dtype.bytes(elements);
        } catch (ArithmeticException e) {
            field = "shape";
            throw error(
                    "a product that is a number of bytes below 2^60",
                    shape + " of " + dtype + " (" + e.getMessage() + ")");
        }
    }

    /// Sorts by data and checks that the tensors follow each other from 0 to the end of the file.
    private List<TensorEntry> contiguous() throws SafetensorsException {
        List<TensorEntry> sorted = new ArrayList<>(byName.values());
        // Empty tensors may share an offset; their order is by name, so that equal headers list equally.
        sorted.sort(Comparator.comparingLong(TensorEntry::offset)
                .thenComparingLong(TensorEntry::length)
                .thenComparing(TensorEntry::name));
        long expected = 0;
        for (TensorEntry entry : sorted) {
            long begin = entry.offset() - dataStart;
            if (begin != expected) {
                part = entry.name();
                field = "data_offsets";
                throw error(
                        "data from " + expected + " on, where the tensor before it ends",
                        begin + (begin < expected ? ", an overlap" : ", a hole"));
            }
            if (entry.length() > dataSize - expected) {
                part = entry.name();
                field = "data_offsets";
                throw error(
                        "data within the file's " + dataSize + " bytes of data",
                        "[" + begin + ", " + (begin + entry.length()) + "]" + TRUNCATED);
            }
            expected += entry.length();
        }
        if (expected != dataSize) {
            part = "data";
            throw error(expected + " bytes according to the header", dataSize + " bytes");
        }
        return Collections.unmodifiableList(sorted);
    }

    // ---- the tokens of JSON that occur ----

    /// Skips white space; returns the byte there, or −1 at the end.
    private int skipTo() {
        while (at < json.length) {
            byte b = json[at];
            if (b != ' ' && b != '\n' && b != '\t' && b != '\r') {
                return b;
            }
            at++;
        }
        return -1;
    }

    private void expect(char wanted) throws SafetensorsException {
        if (skipTo() != wanted) {
            throw error("'" + wanted + "'", here());
        }
        at++;
    }

    /// Reads what follows a member: true after a comma, false after `close`.
    private boolean another(char close) throws SafetensorsException {
        int b = skipTo();
        if (b != ',' && b != close) {
            throw error("',' or '" + close + "'", here());
        }
        at++;
        return b == ',';
    }

    /// Reads a list of integers into [#numbers] and returns their count.
    private int integers() throws SafetensorsException {
        expect('[');
        if (skipTo() == ']') {
            at++;
            return 0;
        }
        int count = 0;
        do {
            if (count == numbers.length) {
                numbers = Arrays.copyOf(numbers, 2 * count);
            }
            numbers[count++] = integer();
        } while (another(']'));
        return count;
    }

    private List<Long> numberList(int count) {
        return switch (count) {
            case 0 -> List.of();
            case 1 -> List.of(numbers[0]);
            case 2 -> List.of(numbers[0], numbers[1]);
            default -> {
                Long[] boxed = new Long[count];
                Arrays.setAll(boxed, i -> numbers[i]);
                yield List.of(boxed);
            }
        };
    }

    /// Reads a JSON number that is an integer in [0, 2^63): no sign, no leading zero, no fraction, no
    /// exponent.
    private long integer() throws SafetensorsException {
        skipTo();
        int start = at;
        long value = 0;
        while (at < json.length && json[at] >= '0' && json[at] <= '9') {
            int digit = json[at] - '0';
            if (value > (Long.MAX_VALUE - digit) / 10) {
                at = start;
                throw error("integers below 2^63", here());
            }
            value = 10 * value + digit;
            at++;
        }
        boolean fraction = at < json.length && (json[at] == '.' || json[at] == 'e' || json[at] == 'E');
        if (at == start || (json[start] == '0' && at > start + 1) || fraction) {
            at = start;
            throw error("integers >= 0", here());
        }
        return value;
    }

    /// Reads a string that is one of three in most files.
    private String fieldName() throws SafetensorsException {
        skipTo();
        for (int i = 0; i < FIELDS.length; i++) {
            byte[] quoted = QUOTED_FIELDS[i];
            int end = at + quoted.length;
            if (end <= json.length && Arrays.equals(json, at, end, quoted, 0, quoted.length)) {
                at = end;
                return FIELDS[i];
            }
        }
        return string();
    }

    /// Reads a JSON string; its bytes are known to be UTF-8.
    private String string() throws SafetensorsException {
        expect('"');
        byte[] bytes = json;
        int start = at;
        for (int i = start; i < bytes.length; i++) {
            byte b = bytes[i];
            if (b == '"') {
                at = i + 1;
                return new String(bytes, start, i - start, StandardCharsets.UTF_8);
            }
            if (b == '\\' || (b >= 0 && b < ' ')) {
                at = i;
                return escaped(start);
            }
        }
        at = bytes.length;
        throw error("'\"' at a string's end", here());
    }

    /// Reads the rest of a string with escapes.
    private String escaped(int start) throws SafetensorsException {
        StringBuilder text = new StringBuilder();
        int run = start;
        while (at < json.length) {
            byte b = json[at];
            if (b == '"') {
                text.append(new String(json, run, at - run, StandardCharsets.UTF_8));
                at++;
                return text.toString();
            }
            if (b >= 0 && b < ' ') {
                throw error("a string without control characters", here());
            }
            if (b != '\\') {
                at++;
                continue;
            }
            text.append(new String(json, run, at - run, StandardCharsets.UTF_8));
            int escape = at;
            at++;
            int code = at < json.length ? json[at++] : -1;
            switch (code) {
                case '"', '\\', '/' -> text.append((char) code);
                case 'b' -> text.append('\b');
                case 'f' -> text.append('\f');
                case 'n' -> text.append('\n');
                case 'r' -> text.append('\r');
                case 't' -> text.append('\t');
                case 'u' -> unicode(escape, text);
                default -> {
                    at = escape;
                    throw error("a JSON escape", here());
                }
            }
            run = at;
        }
        throw error("'\"' at a string's end", here());
    }

    /// Reads what follows `\` and `u`: four hex digits, and the escaped low surrogate after a high one.
    private void unicode(int escape, StringBuilder text) throws SafetensorsException {
        int first = hex4();
        if (first >= 0 && !Character.isSurrogate((char) first)) {
            text.append((char) first);
            return;
        }
        if (first >= 0 && Character.isHighSurrogate((char) first) && at + 1 < json.length) {
            boolean second = json[at] == '\\' && json[at + 1] == 'u';
            at += 2;
            int low = second ? hex4() : -1;
            if (low >= 0 && Character.isLowSurrogate((char) low)) {
                text.append((char) first).append((char) low);
                return;
            }
        }
        at = escape;
        throw error("a \\u escape that is a character", here());
    }

    private int hex4() {
        if (at > json.length - 4) {
            return -1;
        }
        int value = 0;
        for (int i = 0; i < 4; i++) {
            int digit = Character.digit(json[at + i], 16);
            if (digit < 0) {
                return -1;
            }
            value = 16 * value + digit;
        }
        at += 4;
        return value;
    }

    // ---- messages ----

    private SafetensorsException error(String expected, String found) {
        return new SafetensorsException(file, field.isEmpty() ? part : part + "." + field, expected, found);
    }

    private static String quoted(String text) {
        return "\"" + (text.length() > EXCERPT ? text.substring(0, EXCERPT) + "..." : text) + "\"";
    }

    /// The bytes at the current position, for a message.
    private String here() {
        if (at >= json.length) {
            return "the header's end at byte " + json.length;
        }
        StringBuilder text = new StringBuilder();
        for (int i = at; i < Math.min(json.length, at + EXCERPT); i++) {
            text.append(json[i] >= ' ' && json[i] < 0x7f ? (char) json[i] : '?');
        }
        return "`" + text + "` at byte " + at;
    }
}
