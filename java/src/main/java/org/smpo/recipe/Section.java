package org.smpo.recipe;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import org.smpo.objective.InvalidParameterException;

/// Reader of one mapping of a recipe. It records which keys were read; [#build] refuses the others.
final class Section {
    static final String NONE = "none";
    static final String AUTO = "auto";
    static final String INFINITY = "inf";

    private final Node.Fields node;
    private final String path;
    private final Set<String> asked = new LinkedHashSet<>();

    Section(Node.Fields node, String path) {
        this.node = node;
        this.path = path;
    }

    /// A function that reads this section.
    @FunctionalInterface
    interface Body<T> {
        T get() throws RecipeException;
    }

    /// Runs a body that reads every allowed key and builds a record from them.
    ///
    /// @throws RecipeException for a key that the body did not read, and for a value that the record's
    ///     constructor refuses, with the place of the key
    <T> T build(Body<T> body) throws RecipeException {
        try {
            T built = body.get();
            refuseUnknown();
            return built;
        } catch (Check.Failed e) {
            // A misspelt key is often why a value is missing or does not agree with another.
            refuseUnknown();
            throw problem(e.key(), e.detail(), e);
        } catch (InvalidParameterException e) {
            refuseUnknown();
            throw problem(e.parameter().replace(' ', '_'), e.detail(), e);
        }
    }

    /// Declares the allowed keys, so that a misspelt section is found before its keys are reported
    /// missing.
    ///
    /// @throws RecipeException for any other key
    void expect(List<String> keys) throws RecipeException {
        asked.addAll(keys);
        refuseUnknown();
    }

    private void refuseUnknown() throws RecipeException {
        for (Map.Entry<String, Node.Field> entry : node.fields().entrySet()) {
            if (!asked.contains(entry.getKey())) {
                throw new RecipeException(entry.getValue().where() + ": " + full(entry.getKey()) + ": unknown key"
                        + Suggestion.of(entry.getKey(), path, asked));
            }
        }
    }

    /// An error at a key of this section or of one below it.
    private RecipeException problem(String key, String detail, Throwable cause) {
        String where = node.where();
        Node.Fields fields = node;
        for (String part : key.split("\\.", -1)) {
            if (fields == null || !fields.fields().containsKey(part)) {
                break;
            }
            Node.Field field = fields.fields().get(part);
            where = field.where();
            fields = field.value() instanceof Node.Fields below ? below : null;
        }
        return new RecipeException(where + ": " + full(key) + ": " + detail, cause);
    }

    private String full(String key) {
        return path.isEmpty() ? key : path + "." + key;
    }

    RecipeException wrong(String key, String expected, Node found) {
        return new RecipeException(
                found.where() + ": " + full(key) + ": expected " + expected + ", found " + found.describe());
    }

    /// The node at a key, which is thereby allowed.
    Optional<Node> find(String key) {
        asked.add(key);
        return Optional.ofNullable(node.fields().get(key)).map(Node.Field::value);
    }

    /// Requires that a key is absent or `none`.
    void requireAbsent(String key, String reason) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isPresent() && !isWord(found.get(), NONE)) {
            throw wrong(key, "no such key, since " + reason, found.get());
        }
    }

    private Node need(String key, String expected) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty()) {
            refuseUnknown(key);
            throw new RecipeException(
                    node.where() + ": " + full(key) + ": expected " + expected + ", found no such key");
        }
        return found.get();
    }

    /// Refuses a misspelt form of a key before the key is reported missing.
    private void refuseUnknown(String missing) throws RecipeException {
        for (Map.Entry<String, Node.Field> entry : node.fields().entrySet()) {
            String key = entry.getKey();
            if (!asked.contains(key) && Suggestion.isNear(key, missing)) {
                throw new RecipeException(entry.getValue().where() + ": " + full(key) + ": unknown key; did you mean "
                        + full(missing) + "?");
            }
        }
    }

    // ---- scalars: a reader of a node, with and without a default ----------------------------------------

    long integer(String key, Node found, String expected) throws RecipeException {
        if (found instanceof Node.Scalar scalar && scalar.type() == Node.Scalar.Type.INTEGER) {
            try {
                return Long.parseLong(scalar.text());
            } catch (NumberFormatException e) {
                throw wrong(key, expected + " within 64 bits", found);
            }
        }
        throw wrong(key, expected, found);
    }

    private int small(String key, Node found, String expected) throws RecipeException {
        long value = integer(key, found, expected);
        if (value != (int) value) {
            throw wrong(key, expected + " within 32 bits", found);
        }
        return (int) value;
    }

    double number(String key, Node found, String expected) throws RecipeException {
        if (found instanceof Node.Scalar scalar
                && (scalar.type() == Node.Scalar.Type.INTEGER || scalar.type() == Node.Scalar.Type.NUMBER)) {
            try {
                double value = Double.parseDouble(scalar.text());
                if (Double.isFinite(value)) {
                    return value;
                }
            } catch (NumberFormatException e) {
                // YAML's .inf and .nan, which recipes do not allow.
                throw wrong(key, expected + " that is finite", found);
            }
            throw wrong(key, expected + " that is finite", found);
        }
        throw wrong(key, expected, found);
    }

    String text(String key, Node found, String expected) throws RecipeException {
        if (found instanceof Node.Scalar scalar
                && (scalar.type() == Node.Scalar.Type.WORD || scalar.type() == Node.Scalar.Type.QUOTED)) {
            return scalar.text();
        }
        throw wrong(key, expected + " (text that looks like a number needs quotes)", found);
    }

    private Path path(String key, Node found, String expected) throws RecipeException {
        String text = text(key, found, expected);
        if (text.isBlank()) {
            throw wrong(key, expected, found);
        }
        try {
            return Path.of(text);
        } catch (InvalidPathException e) {
            throw wrong(key, expected, found);
        }
    }

    static boolean isWord(Node node, String word) {
        return node instanceof Node.Scalar scalar && scalar.isWord(word);
    }

    long integer(String key) throws RecipeException {
        return integer(key, need(key, "an integer"), "an integer");
    }

    long integer(String key, long otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() ? otherwise : integer(key, found.get(), "an integer");
    }

    int small(String key) throws RecipeException {
        return small(key, need(key, "an integer"), "an integer");
    }

    int small(String key, int otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() ? otherwise : small(key, found.get(), "an integer");
    }

    double number(String key) throws RecipeException {
        return number(key, need(key, "a number"), "a number");
    }

    double number(String key, double otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() ? otherwise : number(key, found.get(), "a number");
    }

    /// Reads a number, or `inf`.
    double numberOrInfinity(String key) throws RecipeException {
        Node found = need(key, "a number or inf");
        return isWord(found, INFINITY) ? Double.POSITIVE_INFINITY : number(key, found, "a number or inf");
    }

    /// Reads a number, or `inf`.
    double numberOrInfinity(String key, double otherwise) throws RecipeException {
        return find(key).isEmpty() ? otherwise : numberOrInfinity(key);
    }

    boolean flag(String key, boolean otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty()) {
            return otherwise;
        }
        if (found.get() instanceof Node.Scalar scalar && scalar.type() == Node.Scalar.Type.FLAG) {
            return scalar.text().equals("true");
        }
        throw wrong(key, "true or false", found.get());
    }

    String text(String key, String otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() ? otherwise : text(key, found.get(), "text");
    }

    Path path(String key) throws RecipeException {
        return path(key, need(key, "a path"), "a path");
    }

    <E extends Enum<E>> E choice(String key, Class<E> type, E otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() ? otherwise : choice(key, type, found.get());
    }

    /// A choice that may also be written in another way.
    <E extends Enum<E>> E choice(String key, Class<E> type, E otherwise, Map<String, E> alsoWritten)
            throws RecipeException {
        Optional<Node> found = find(key);
        boolean other = found.isPresent()
                && found.get() instanceof Node.Scalar scalar
                && alsoWritten.containsKey(scalar.text());
        return other ? alsoWritten.get(((Node.Scalar) found.get()).text()) : choice(key, type, otherwise);
    }

    /// Reads a constant; absent or `none` gives nothing.
    <E extends Enum<E>> Optional<E> choiceOrNone(String key, Class<E> type) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() || isWord(found.get(), NONE)
                ? Optional.empty()
                : Optional.of(choice(key, type, found.get()));
    }

    private <E extends Enum<E>> E choice(String key, Class<E> type, Node found) throws RecipeException {
        for (E constant : type.getEnumConstants()) {
            if (found instanceof Node.Scalar scalar && scalar.text().equals(word(constant))) {
                return constant;
            }
        }
        throw wrong(
                key,
                oneOf(Arrays.stream(type.getEnumConstants()).map(Section::word).toList()),
                found);
    }

    /// The word of a constant in a recipe: `every_step` for `EVERY_STEP`.
    static String word(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }

    /// The key of a component: `pairs_per_step` for `pairsPerStep`.
    static String snakeCase(String name) {
        return name.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
    }

    static String oneOf(List<String> words) {
        return words.size() == 1
                ? words.getFirst()
                : String.join(", ", words.subList(0, words.size() - 1)) + " or " + words.getLast();
    }

    // ---- scalars that may be `none` or `auto` ---------------------------------------------------------------------

    OptionalInt smallOrAuto(String key, OptionalInt otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty()) {
            return otherwise;
        }
        return isWord(found.get(), AUTO)
                ? OptionalInt.empty()
                : OptionalInt.of(small(key, found.get(), "auto or an integer"));
    }

    OptionalLong integerOrNone(String key, OptionalLong otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty()) {
            return otherwise;
        }
        return isWord(found.get(), NONE)
                ? OptionalLong.empty()
                : OptionalLong.of(integer(key, found.get(), "none or an integer"));
    }

    OptionalDouble numberOrNone(String key, OptionalDouble otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty()) {
            return otherwise;
        }
        return isWord(found.get(), NONE)
                ? OptionalDouble.empty()
                : OptionalDouble.of(number(key, found.get(), "none or a number"));
    }

    Optional<Path> pathOrNone(String key) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() || isWord(found.get(), NONE)
                ? Optional.empty()
                : Optional.of(path(key, found.get(), "none or a path"));
    }

    <E extends Enum<E>> Optional<E> choiceOrAuto(String key, Class<E> type) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() || isWord(found.get(), AUTO)
                ? Optional.empty()
                : Optional.of(choice(key, type, found.get()));
    }

    Optional<String> textOrNone(String key) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() || isWord(found.get(), NONE)
                ? Optional.empty()
                : Optional.of(text(key, found.get(), "none or text"));
    }

    // ---- lists ----------------------------------------------------------------------------------------------------

    /// One item of a list.
    @FunctionalInterface
    interface Item<T> {
        T read(String key, Node node) throws RecipeException;
    }

    <T> List<T> list(String key, String expected, Node found, Item<T> item) throws RecipeException {
        if (!(found instanceof Node.Items items)) {
            throw wrong(key, expected, found);
        }
        List<T> list = new ArrayList<>();
        for (Node node : items.nodes()) {
            list.add(item.read(key + "[" + list.size() + "]", node));
        }
        return list;
    }

    /// A list, or a single path, which is a list of one.
    List<Path> paths(String key) throws RecipeException {
        Node found = need(key, "a path or a list of paths");
        return found instanceof Node.Scalar
                ? List.of(path(key, found, "a path or a list of paths"))
                : list(key, "a path or a list of paths", found, (at, node) -> path(at, node, "a path"));
    }

    /// A list, a single path, which is a list of one, or `none`, which is an empty list.
    List<Path> pathsOrNone(String key) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() || isWord(found.get(), NONE) ? List.of() : paths(key);
    }

    List<String> texts(String key, List<String> otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty()
                ? otherwise
                : list(key, "a list of texts", found.get(), (at, node) -> text(at, node, "text"));
    }

    List<Long> integers(String key, List<Long> otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty()
                ? otherwise
                : list(key, "a list of integers", found.get(), (at, node) -> integer(at, node, "an integer"));
    }

    List<Double> numbers(String key) throws RecipeException {
        return list(
                key, "a list of numbers", need(key, "a list of numbers"), (at, node) -> number(at, node, "a number"));
    }

    List<Double> numbers(String key, List<Double> otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() || isWord(found.get(), NONE) ? otherwise : numbers(key);
    }

    <E extends Enum<E>> List<E> choices(String key, Class<E> type, List<E> otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() ? otherwise : list(key, "a list", found.get(), (at, node) -> choice(at, type, node));
    }

    // ---- values of several types ----------------------------------------------------------------------------------

    /// Reads `none`, `data`, `data_or_label` or a number.
    LabelProbability labelProbability(String key) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty() || isWord(found.get(), NONE)) {
            return new LabelProbability.OfScores();
        }
        boolean orLabel = isWord(found.get(), LabelProbability.DATA_OR_LABEL);
        return orLabel || isWord(found.get(), LabelProbability.DATA)
                ? new LabelProbability.OfData(orLabel)
                : new LabelProbability.Fixed(number(key, found.get(), "none, data, data_or_label or a number"));
    }

    // ---- sections -------------------------------------------------------------------------------------------------

    /// The mapping below a key; an empty one when the key is absent.
    Section section(String key) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty()) {
            return new Section(new Node.Fields(node.where(), Map.of()), full(key));
        }
        return below(key, "a mapping", found.get());
    }

    /// The mapping below a key; empty when the key is absent or `none`.
    Optional<Section> sectionOrNone(String key) throws RecipeException {
        Optional<Node> found = find(key);
        return found.isEmpty() || isWord(found.get(), NONE)
                ? Optional.empty()
                : Optional.of(below(key, "none or a mapping", found.get()));
    }

    /// The mapping below a key for whose main value it may stand ([Recipe#VALUES]); empty when the key
    /// is absent or `none`.
    Optional<Section> valueSectionOrNone(String key) throws RecipeException {
        Optional<Node> found = find(key).map(node -> Node.ofValue(node, Recipe.VALUES.get(full(key))));
        return found.isEmpty() || isWord(found.get(), NONE)
                ? Optional.empty()
                : Optional.of(below(key, "none, a number or a mapping", found.get()));
    }

    /// The mapping below a key, whose key `kind` names its kind; a single word is such a mapping too.
    Section kinds(String key, String kind) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty()) {
            return new Section(new Node.Fields(node.where(), Map.of()), full(key));
        }
        return below(key, "a mapping with " + kind, Node.ofKind(found.get(), kind));
    }

    private Section below(String key, String expected, Node found) throws RecipeException {
        if (found instanceof Node.Fields fields) {
            return new Section(fields, full(key));
        }
        throw wrong(key, expected, found);
    }

    /// Reads the kind of this section, one of several words.
    String kind(String key, List<String> words, Optional<String> otherwise) throws RecipeException {
        Optional<Node> found = find(key);
        if (found.isEmpty() && otherwise.isPresent()) {
            refuseUnknown(key);
            return otherwise.get();
        }
        Node named = need(key, oneOf(words));
        if (named instanceof Node.Scalar scalar && words.contains(scalar.text())) {
            return scalar.text();
        }
        String nearest = named instanceof Node.Scalar scalar ? Suggestion.nearest(scalar.text(), words) : "";
        throw new RecipeException(wrong(key, oneOf(words), named).getMessage() + nearest);
    }
}
