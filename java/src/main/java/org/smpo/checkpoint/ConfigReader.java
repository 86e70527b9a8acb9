package org.smpo.checkpoint;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import org.smpo.io.JsonObject;

/// Strict reads of a `config.json`: an absent key takes the class's default, a value of the wrong kind or one that
/// we do not support is an error, and what nobody asked for is remembered as unknown.
final class ConfigReader {
    /// More layers than any of these models has.
    static final int MAX_LAYERS = 64;

    private final JsonObject json;
    private final Map<String, Object> values;
    private final Set<String> known = new HashSet<>();

    ConfigReader(JsonObject json) {
        this.json = json;
        this.values = json.asMap();
    }

    JsonObject json() {
        return json;
    }

    private Object value(String key, Object absent) {
        known.add(key);
        return values.containsKey(key) ? values.get(key) : absent;
    }

    /// An integer of at least `min`.
    int integer(String key, Integer absent, int min) throws ModelException {
        return integer(key, value(key, absent), min);
    }

    /// A number of layers: at least 1, and at most [#MAX_LAYERS], since their parameters are listed
    /// before the file is compared with them.
    int layers(String key, int absent) throws ModelException {
        return checkedLayers(key, integer(key, absent, 1));
    }

    private int checkedLayers(String key, int layers) throws ModelException {
        require(layers <= MAX_LAYERS, key, "at most " + MAX_LAYERS + " layers", layers);
        return layers;
    }

    /// One number of layers for all levels, or a list with one for each.
    List<Integer> layersPerLevel(String key, int absent, int levels) throws ModelException {
        List<Integer> all = perLevel(key, absent, levels);
        for (int layers : all) {
            checkedLayers(key, layers);
        }
        return all;
    }

    /// An integer, or `otherwise` where the value is null.
    int optional(String key, int otherwise, int min) throws ModelException {
        Object value = value(key, null);
        return value == null ? otherwise : integer(key, value, min);
    }

    private int integer(String where, Object value, int min) throws ModelException {
        if (value instanceof Number number
                && number.doubleValue() == Math.rint(number.doubleValue())
                && number.doubleValue() >= min
                && number.doubleValue() <= Integer.MAX_VALUE) {
            return number.intValue();
        }
        throw error(where, "an integer of at least " + min, value);
    }

    double number(String key, double absent) throws ModelException {
        Object value = value(key, absent);
        if (value instanceof Number number && Double.isFinite(number.doubleValue())) {
            return number.doubleValue();
        }
        throw error(key, "a finite number", value);
    }

    double positive(String key, double absent) throws ModelException {
        double value = number(key, absent);
        if (value > 0) {
            return value;
        }
        throw error(key, "a number above 0", value);
    }

    boolean flag(String key, boolean absent) throws ModelException {
        Object value = value(key, absent);
        if (value == null) {
            return false;
        }
        if (value instanceof Boolean flag) {
            return flag;
        }
        throw error(key, "true or false", value);
    }

    /// Text that is one of `supported`.
    String choice(String key, String absent, String... supported) throws ModelException {
        Object value = value(key, absent);
        if (value instanceof String text && Arrays.asList(supported).contains(text)) {
            return text;
        }
        throw error(key, oneOf(supported), value);
    }

    /// A list of text, each one of `supported`.
    List<String> choices(String key, List<String> absent, String... supported) throws ModelException {
        Object value = value(key, absent);
        if (!(value instanceof List<?> list) || list.isEmpty()) {
            throw error(key, "a list of block types", value);
        }
        List<String> texts = new ArrayList<>();
        for (Object item : list) {
            if (!(item instanceof String text) || !Arrays.asList(supported).contains(text)) {
                throw error(key + "[" + texts.size() + "]", oneOf(supported), item);
            }
            texts.add(text);
        }
        return List.copyOf(texts);
    }

    /// Integers of at least 1; `levels` of them unless that is 0.
    List<Integer> integers(String key, List<Integer> absent, int levels) throws ModelException {
        Object value = value(key, absent);
        if (!(value instanceof List<?> list)) {
            throw error(key, "a list of integers", value);
        }
        return checked(key, list, levels);
    }

    private List<Integer> checked(String key, List<?> list, int levels) throws ModelException {
        if (list.isEmpty() || (levels > 0 && list.size() != levels)) {
            throw error(key, levels > 0 ? levels + " integers, one per block" : "one integer or more", list);
        }
        List<Integer> integers = new ArrayList<>();
        for (Object item : list) {
            integers.add(integer(key + "[" + integers.size() + "]", item, 1));
        }
        return List.copyOf(integers);
    }

    /// One integer for all levels, or a list with one for each.
    List<Integer> perLevel(String key, int absent, int levels) throws ModelException {
        Object value = value(key, absent);
        if (value instanceof List<?> list) {
            return checked(key, list, levels);
        }
        int same = integer(key, value, 1);
        return java.util.Collections.nCopies(levels, same);
    }

    /// One integer for the whole model; a list is taken if all its entries agree.
    int uniform(String key, int absent, int levels) throws ModelException {
        List<Integer> all = perLevel(key, absent, levels);
        if (new HashSet<>(all).size() != 1) {
            throw error(key, "the same for every block", all);
        }
        return all.get(0);
    }

    /// The side of an image: an integer, or a list of two equal integers.
    int side(String key, Integer absent) throws ModelException {
        Object value = value(key, absent);
        if (value == null) {
            return 0;
        }
        if (value instanceof List<?> list) {
            List<Integer> sides = checked(key, list, 2);
            if (!sides.get(0).equals(sides.get(1))) {
                throw error(key, "a square", value);
            }
            return sides.get(0);
        }
        return integer(key, value, 1);
    }

    /// Takes nothing but one of `supported`; a list is taken if each of its entries is.
    void only(String key, Object absent, Object... supported) throws ModelException {
        Object value = value(key, absent);
        List<?> all = value instanceof List<?> list ? list : Arrays.asList(value);
        for (Object item : all) {
            if (Arrays.stream(supported).noneMatch(s -> same(s, item))) {
                throw error(
                        key,
                        Arrays.stream(supported).map(String::valueOf).collect(Collectors.joining(" or "))
                                + " (nothing else is supported)",
                        value);
            }
        }
    }

    private static boolean same(Object a, Object b) {
        if (a instanceof Number x && b instanceof Number y) {
            return x.doubleValue() == y.doubleValue();
        }
        return Objects.equals(a, b);
    }

    /// Marks keys that do not affect the computation as known.
    void tolerate(String... keys) {
        known.addAll(Arrays.asList(keys));
    }

    /// Refuses a file that describes another class. A file without the key is taken to be of the right one.
    void className(String... supported) throws ModelException {
        Object value = value("_class_name", supported[0]);
        if (!Arrays.asList(supported).contains(value)) {
            throw error("_class_name", oneOf(supported), value);
        }
    }

    /// Keys that neither we nor the classes that we know take; their readers ignore them, and they are kept.
    List<String> unknown() {
        return values.keySet().stream()
                .filter(key -> !key.startsWith("_") && !known.contains(key))
                .sorted()
                .toList();
    }

    void require(boolean condition, String key, String expected, Object found) throws ModelException {
        if (!condition) {
            throw error(key, expected, found);
        }
    }

    ModelException error(String where, String expected, Object found) {
        String shown = found instanceof String text ? "\"" + text + "\"" : String.valueOf(found);
        boolean isDefault = !values.containsKey(where.replaceFirst("\\[.*", ""));
        String path = json.path().equals("$") ? where : json.path().substring(2) + "." + where;
        return new ModelException(
                json.source(), path, expected, shown + (isDefault ? " (the key is absent; this is the default)" : ""));
    }

    private static String oneOf(String... supported) {
        return supported.length == 1 ? supported[0] : "one of " + String.join(", ", supported);
    }
}
