package org.smpo.recipe;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.dataformat.yaml.JacksonYAMLParseException;
import tools.jackson.dataformat.yaml.YAMLFactory;
import tools.jackson.dataformat.yaml.YAMLParser;

/// A value of a YAML document with its place. Immutable.
sealed interface Node {
    /// The place that the YAML scanner reports.
    Pattern PLACE = Pattern.compile("in reader, line (\\d{1,9}), column");

    /// Place for messages: `run.yaml: line 12`, or `--set train.steps`.
    String where();

    /// Description of the value for messages.
    String describe();

    /// A scalar.
    ///
    /// @param text the scalar as written, without quotes
    /// @param type type according to YAML 1.2
    record Scalar(String where, String text, Type type) implements Node {
        enum Type {
            NOTHING,
            FLAG,
            INTEGER,
            NUMBER,
            /// Plain text: a word such as `none` has its special meaning only in this form.
            WORD,
            /// Text in quotes, or a block of it.
            QUOTED
        }

        @Override
        public String describe() {
            String shortened = text.length() > 60 ? text.substring(0, 60) + "..." : text;
            return switch (type) {
                case NOTHING -> "nothing";
                case WORD -> "\"" + shortened + "\"";
                // Or else a message could ask for none and have found "none".
                case QUOTED -> "\"" + shortened + "\" in quotes";
                default -> shortened;
            };
        }

        boolean isWord(String word) {
            return type == Type.WORD && text.equals(word);
        }
    }

    /// A list.
    record Items(String where, List<Node> nodes) implements Node {
        public Items {
            nodes = List.copyOf(nodes);
        }

        @Override
        public String describe() {
            return "a list of " + nodes.size();
        }
    }

    /// A mapping, in the document's order.
    record Fields(String where, Map<String, Field> fields) implements Node {
        public Fields {
            fields = Collections.unmodifiableMap(new LinkedHashMap<>(fields));
        }

        @Override
        public String describe() {
            return fields.isEmpty() ? "an empty mapping" : "a mapping with " + String.join(", ", fields.keySet());
        }

        /// Whether the key has a scalar.
        boolean names(String key) {
            return !textAt(key).isEmpty();
        }

        /// The scalar at the key, empty when there is none.
        String textAt(String key) {
            return fields.containsKey(key) && fields.get(key).value() instanceof Scalar scalar ? scalar.text() : "";
        }

        Fields without(String key) {
            Map<String, Field> rest = new LinkedHashMap<>(fields);
            rest.remove(key);
            return new Fields(where, rest);
        }

        Fields with(String key, Field field) {
            Map<String, Field> more = new LinkedHashMap<>(fields);
            more.put(key, field);
            return new Fields(where, more);
        }
    }

    /// An entry of a mapping.
    ///
    /// @param where place of the key
    record Field(String where, Node value) {}

    /// Reads a document of one value. Anchors, aliases, tags and further documents are refused: a recipe states
    /// each value where it applies.
    ///
    /// @param source named in messages
    /// @param lines whether messages name lines
    static Node parse(String source, String yaml, boolean lines) throws RecipeException {
        YAMLFactory factory = YAMLFactory.builder()
                .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                .build();
        try (JsonParser parser = factory.createParser(ObjectReadContext.empty(), yaml)) {
            Reader reader = new Reader(source, yaml.lines().toList(), lines, parser);
            if (parser.nextToken() == null) {
                return new Scalar(source, "", Scalar.Type.NOTHING);
            }
            Node node = reader.node();
            if (parser.nextToken() != null) {
                throw new RecipeException(reader.where() + ": expected the end, found a second document");
            }
            return node;
        } catch (JacksonException e) {
            String line = lines && e.getLocation() != null ? ": line " + line(e) : "";
            throw new RecipeException(source + line + ": " + reason(e), e);
        }
    }

    /// The scanner's message names the line of the problem last; its location is that of the token before.
    private static long line(JacksonException failure) {
        Matcher places = PLACE.matcher(failure.getOriginalMessage());
        long line = failure.getLocation().getLineNr();
        while (places.find()) {
            line = Long.parseLong(places.group(1));
        }
        return line;
    }

    private static String reason(JacksonException failure) {
        String message = failure.getOriginalMessage();
        if (!(failure instanceof JacksonYAMLParseException)) {
            return message;
        }
        // The scanner's message has the context first, an excerpt of the text next, and the problem last.
        String problem = message.lines()
                .filter(line -> !line.isBlank() && !line.startsWith(" "))
                .reduce((first, last) -> last)
                .orElse(message);
        return "not YAML: " + problem;
    }

    /// This node with `over` laid over it: mappings are merged key by key, anything else is replaced. A mapping
    /// that names another kind of thing than this one ([Recipe#KINDS]) replaces it whole, because the keys of
    /// one method mean nothing to another.
    default Node merge(Node over, String path) {
        Node below = this;
        String kind = Recipe.KINDS.get(path);
        if (kind != null) {
            below = ofKind(below, kind);
            over = ofKind(over, kind);
        }
        String main = Recipe.VALUES.get(path);
        if (main != null) {
            below = ofValue(below, main);
            over = ofValue(over, main);
        }
        if (!(below instanceof Fields old) || !(over instanceof Fields added)) {
            return over;
        }
        if (kind != null && added.names(kind) && !added.textAt(kind).equals(old.textAt(kind))) {
            return added;
        }
        Fields merged = old;
        for (Map.Entry<String, Field> entry : added.fields().entrySet()) {
            String key = entry.getKey();
            Field field = entry.getValue();
            Field before = old.fields().get(key);
            Node value = before == null
                    ? field.value()
                    : before.value().merge(field.value(), path.isEmpty() ? key : path + "." + key);
            merged = merged.with(key, new Field(field.where(), value));
        }
        return merged;
    }

    /// A word that stands for a mapping of that kind and nothing else: `weights: full` is `weights: {type:
    /// full}`.
    static Node ofKind(Node node, String kind) {
        if (node instanceof Scalar scalar && scalar.type() == Scalar.Type.WORD) {
            return new Fields(scalar.where(), Map.of(kind, new Field(scalar.where(), scalar)));
        }
        return node;
    }

    /// A number that stands for a mapping with that value. YAML 1.1 has no numbers such as `1e-5`, so a word that
    /// begins with a digit is one.
    static Node ofValue(Node node, String key) {
        if (node instanceof Scalar scalar
                && (scalar.type() == Scalar.Type.INTEGER
                        || scalar.type() == Scalar.Type.NUMBER
                        || (scalar.type() == Scalar.Type.WORD && scalar.text().matches("[-+.]?\\d.*")))) {
            return new Fields(scalar.where(), Map.of(key, new Field(scalar.where(), scalar)));
        }
        return node;
    }

    /// An override as a document of its own: `train.steps=5` is `train: {steps: 5}`.
    ///
    /// @param option named in messages
    static Node override(String option, String assignment) throws RecipeException {
        int equals = assignment.indexOf('=');
        if (equals < 1) {
            throw new RecipeException(option + " " + assignment + ": expected KEY=VALUE, such as train.steps=100");
        }
        String path = assignment.substring(0, equals).strip();
        String where = option + " " + path;
        Node node = parse(where, assignment.substring(equals + 1), false);
        if (node instanceof Scalar scalar && scalar.type() == Scalar.Type.NOTHING) {
            throw new RecipeException(where + ": expected a value after =, found nothing");
        }
        String[] keys = path.split("\\.", -1);
        for (int i = keys.length - 1; i >= 0; i--) {
            if (keys[i].isBlank()) {
                throw new RecipeException(where + ": expected keys separated by single dots, such as train.steps");
            }
            node = new Fields(where, Map.of(keys[i], new Field(where, node)));
        }
        return node;
    }

    /// The stream of tokens of one document.
    ///
    /// @param text the document's lines, to tell a word from a quoted one
    record Reader(String source, List<String> text, boolean lines, JsonParser parser) {
        String where() {
            return lines ? source + ": line " + parser.currentTokenLocation().getLineNr() : source;
        }

        /// The node that begins at the current token; ends on its last token.
        Node node() throws RecipeException {
            String where = where();
            refuseReferences(where);
            return switch (parser.currentToken()) {
                case START_OBJECT -> {
                    Map<String, Field> fields = new LinkedHashMap<>();
                    while (parser.nextToken() != JsonToken.END_OBJECT) {
                        String key = parser.currentName();
                        String keyWhere = where();
                        parser.nextToken();
                        fields.put(key, new Field(keyWhere, node()));
                    }
                    yield new Fields(where, fields);
                }
                case START_ARRAY -> {
                    List<Node> items = new ArrayList<>();
                    while (parser.nextToken() != JsonToken.END_ARRAY) {
                        items.add(node());
                    }
                    yield new Items(where, items);
                }
                case VALUE_NULL -> new Scalar(where, "", Scalar.Type.NOTHING);
                case VALUE_TRUE, VALUE_FALSE -> new Scalar(where, parser.getString(), Scalar.Type.FLAG);
                case VALUE_NUMBER_INT -> new Scalar(where, parser.getString(), Scalar.Type.INTEGER);
                case VALUE_NUMBER_FLOAT -> new Scalar(where, parser.getString(), Scalar.Type.NUMBER);
                default -> new Scalar(where, parser.getString(), isPlain() ? Scalar.Type.WORD : Scalar.Type.QUOTED);
            };
        }

        private void refuseReferences(String where) throws RecipeException {
            boolean alias = parser instanceof YAMLParser yaml && yaml.isCurrentAlias();
            // An anchor of a scalar has no id, but the token begins with it.
            boolean marked = first() == '&' || first() == '!';
            if (alias || marked || parser.getObjectId() != null || parser.getTypeId() != null) {
                throw new RecipeException(where + ": anchors, aliases and tags are not supported; write the value");
            }
        }

        private boolean isPlain() {
            return "\"'|>".indexOf(first()) < 0;
        }

        /// The character that the current token begins with, a space when it is empty.
        private char first() {
            int line = parser.currentTokenLocation().getLineNr() - 1;
            int column = parser.currentTokenLocation().getColumnNr() - 1;
            boolean inside = line >= 0
                    && line < text.size()
                    && column >= 0
                    && column < text.get(line).length();
            return inside ? text.get(line).charAt(column) : ' ';
        }
    }
}
