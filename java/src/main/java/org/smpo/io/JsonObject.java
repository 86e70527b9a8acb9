package org.smpo.io;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// An object of a JSON document and the path to it. Getters name the path and the value found when it is not
/// what was expected.
public final class JsonObject {
    private final String source;
    private final String path;
    private final Map<String, Object> fields;

    JsonObject(String source, String path, Map<?, ?> fields) {
        this.source = source;
        this.path = path;
        Map<String, Object> copy = new LinkedHashMap<>();
        fields.forEach((key, value) -> copy.put((String) key, value));
        this.fields = Collections.unmodifiableMap(copy);
    }

    /// Source of the document, usually a file.
    public String source() {
        return source;
    }

    /// The path from the document's root, such as `$.text_encoder`.
    public String path() {
        return path;
    }

    /// Keys in the document's order.
    public Set<String> keys() {
        return fields.keySet();
    }

    /// Whether the key is there and its value is not null.
    public boolean has(String key) {
        return fields.get(key) != null;
    }

    /// The values as maps, lists, String, Long, BigInteger (beyond 64 bits), Double, Boolean and null, in the
    /// document's
    /// order.
    public Map<String, Object> asMap() {
        return fields;
    }

    /// Returns text.
    ///
    /// @throws JsonException when the key is absent or its value is not text
    public String string(String key) throws JsonException {
        return as(String.class, "text", path + "." + key, fields.get(key));
    }

    /// Returns an integer.
    ///
    /// @throws JsonException when the key is absent or its value is not an integer of 64 bits
    public long integer(String key) throws JsonException {
        return as(Long.class, integerHere(fields.get(key)), path + "." + key, fields.get(key));
    }

    /// Returns a number, integer or not.
    ///
    /// @throws JsonException when the key is absent or its value is not a number
    public double number(String key) throws JsonException {
        return finite(path + "." + key, as(Number.class, "a number", path + "." + key, fields.get(key)));
    }

    private double finite(String where, Number value) throws JsonException {
        if (!Double.isFinite(value.doubleValue())) {
            throw new JsonException(source + ": " + where + ": expected a finite number, found " + value);
        }
        return value.doubleValue();
    }

    /// An object with other fields at the same place of the same document.
    public JsonObject with(Map<String, ?> changed) {
        return new JsonObject(source, path, changed);
    }

    /// The hint for a value where an integer is expected.
    private static String integerHere(Object value) {
        return value instanceof BigInteger ? "an integer within 64 bits" : "an integer";
    }

    /// Returns true or false.
    ///
    /// @throws JsonException when the key is absent or its value is neither true nor false
    public boolean bool(String key) throws JsonException {
        return as(Boolean.class, "true or false", path + "." + key, fields.get(key));
    }

    /// Returns an object.
    ///
    /// @throws JsonException when the key is absent or its value is not an object
    public JsonObject object(String key) throws JsonException {
        return new JsonObject(source, path + "." + key, as(Map.class, "an object", path + "." + key, fields.get(key)));
    }

    /// Returns a list of integers.
    ///
    /// @throws JsonException when the key is absent or its value is not a list of integers
    public List<Long> integers(String key) throws JsonException {
        return list(key, Long.class, "an integer");
    }

    /// Returns a list of numbers.
    ///
    /// @throws JsonException when the key is absent or its value is not a list of numbers
    public List<Double> numbers(String key) throws JsonException {
        List<Double> numbers = new ArrayList<>();
        for (Number number : list(key, Number.class, "a number")) {
            numbers.add(finite(path + "." + key + "[" + numbers.size() + "]", number));
        }
        return Collections.unmodifiableList(numbers);
    }

    /// Returns a list of text.
    ///
    /// @throws JsonException when the key is absent or its value is not a list of text
    public List<String> strings(String key) throws JsonException {
        return list(key, String.class, "text");
    }

    /// Returns a list of objects.
    ///
    /// @throws JsonException when the key is absent or its value is not a list of objects
    public List<JsonObject> objects(String key) throws JsonException {
        List<JsonObject> objects = new ArrayList<>();
        for (Map<?, ?> map : list(key, Map.class, "an object")) {
            objects.add(new JsonObject(source, path + "." + key + "[" + objects.size() + "]", map));
        }
        return objects;
    }

    /// Refuses a key that differs from an optional one in a single character, where that one is absent: other keys may
    /// be ignored, a misspelled one should not be.
    ///
    /// @throws JsonException naming the misspelled key
    public void rejectMisspelled(String optional) throws JsonException {
        for (String key : fields.keySet()) {
            if (!fields.containsKey(optional) && differsInOne(key, optional)) {
                throw new JsonException(source + ": " + path + "." + key
                        + ": expected one of the keys that are read, found this one; is " + optional + " meant?");
            }
        }
    }

    private static boolean differsInOne(String a, String b) {
        int prefix = 0;
        while (prefix < Math.min(a.length(), b.length()) && a.charAt(prefix) == b.charAt(prefix)) {
            prefix++;
        }
        int suffix = 0;
        while (suffix < Math.min(a.length(), b.length()) - prefix
                && a.charAt(a.length() - 1 - suffix) == b.charAt(b.length() - 1 - suffix)) {
            suffix++;
        }
        return Math.max(a.length(), b.length()) - prefix - suffix == 1;
    }

    private <T> List<T> list(String key, Class<T> type, String expected) throws JsonException {
        List<T> typed = new ArrayList<>();
        for (Object item : as(List.class, "a list", path + "." + key, fields.get(key))) {
            typed.add(as(type, expected, path + "." + key + "[" + typed.size() + "]", item));
        }
        return Collections.unmodifiableList(typed);
    }

    private <T> T as(Class<T> type, String expected, String where, Object value) throws JsonException {
        if (!type.isInstance(value)) {
            throw new JsonException(source + ": " + where + ": expected " + expected + ", found " + describe(value));
        }
        return type.cast(value);
    }

    static String describe(Object value) {
        return switch (value) {
            case null -> "nothing";
            case String text -> "\"" + (text.length() > 60 ? text.substring(0, 60) + "..." : text) + "\"";
            case Map<?, ?> map -> "an object of " + map.size();
            case List<?> list -> "a list of " + list.size();
            default -> value.toString();
        };
    }
}
