package org.smpo.recipe;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.smpo.io.TextStart;

/// The text of a recipe: a file, or one that comes with the program.
///
/// @param source named in messages
/// @param yaml the text
record RecipeText(String source, String yaml) {
    /// Names of the recipes that come with the program, without those of rounds.
    static final List<String> BUILT_IN = List.of(
            "smpo-sd15",
            "smpo-sd15-lora",
            "smpo-sdxl",
            "smpo-sdxl-lora",
            "smpo-small",
            "dpo-sd15",
            "dpo-sd15-lora",
            "dpo-bcr-sd15-lora",
            "dora-sd15-lora",
            "capo-sd15-lora",
            "inpo-sd15",
            "inpo-sd15-lora",
            "kto-sd15",
            "npo-sd15-lora",
            "npo-sdxl-lora",
            "selfnpo-sd15",
            "selfnpo-sdxl",
            "tailorpo-sd15-lora",
            "spo-sd15-lora",
            "spo-sdxl-lora");

    private static final String BASE = "base";

    /// A recipe has a few kilobytes; parsing takes time and memory in proportion.
    private static final int MAX_BYTES = 1 << 20;

    /// Reads a file, or the built-in recipe of that name if there is no such file.
    ///
    /// @throws RecipeException when there is neither, or the file is not text
    /// @throws IOException when it cannot be read
    static RecipeText of(Path file) throws IOException {
        String name = file.toString();
        if (!Files.exists(file)) {
            if (names().contains(name)) {
                return builtIn(name);
            }
            throw new RecipeException(name + ": expected a file or one of the built-in recipes ("
                    + String.join(", ", names()) + "), found neither" + Suggestion.nearest(name, names()));
        }
        byte[] bytes;
        try (InputStream in = Files.newInputStream(file)) {
            bytes = in.readNBytes(MAX_BYTES + 1);
        }
        if (bytes.length > MAX_BYTES) {
            throw new RecipeException(name + ": expected a recipe of at most " + MAX_BYTES + " bytes, found more");
        }
        try {
            return new RecipeText(name, TextStart.decode(name, bytes));
        } catch (IOException e) {
            throw new RecipeException(e.getMessage(), e);
        }
    }

    /// Returns a recipe that comes with the program, with its comments.
    ///
    /// @throws IllegalArgumentException when there is none of that name
    static RecipeText builtIn(String name) {
        if (!names().contains(name)) {
            throw new IllegalArgumentException("expected one of the built-in recipes (" + String.join(", ", names())
                    + "), got " + name + Suggestion.nearest(name, names()));
        }
        try (InputStream stream = RecipeText.class.getResourceAsStream(name + ".yaml")) {
            return new RecipeText(name + " (built in)", new String(stream.readAllBytes(), StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// Names of all recipes that come with the program.
    private static List<String> names() {
        return Stream.concat(Recipe.builtInNames().stream(), IterateRecipe.builtInNames().stream())
                .toList();
    }

    /// Returns the keys of the recipe, of its bases below them, and of overrides on top.
    ///
    /// @param overrides `KEY=VALUE` each, the value in YAML, later ones over earlier ones
    /// @throws RecipeException when it is not a mapping, or a base or an override is not valid
    Node.Fields fields(List<String> overrides) throws RecipeException {
        Node node = withBase(Node.parse(source, yaml, true), new LinkedHashSet<>());
        for (String override : overrides) {
            Node over = Node.override("--set", override);
            if (over instanceof Node.Fields fields && fields.fields().containsKey(BASE)) {
                throw new RecipeException("--set base: name the base in the recipe itself");
            }
            node = node.merge(over, "");
        }
        if (!(node instanceof Node.Fields fields)) {
            throw new RecipeException(node.where() + ": expected keys with values, found " + node.describe());
        }
        return fields;
    }

    private static Node withBase(Node node, Set<String> above) throws RecipeException {
        if (!(node instanceof Node.Fields fields) || !fields.fields().containsKey(BASE)) {
            return node;
        }
        Node.Field base = fields.fields().get(BASE);
        if (!(base.value() instanceof Node.Scalar name) || !names().contains(name.text())) {
            String found = base.value().describe();
            String nearest = base.value() instanceof Node.Scalar text ? Suggestion.nearest(text.text(), names()) : "";
            throw new RecipeException(base.where() + ": base: expected one of the built-in recipes ("
                    + String.join(", ", names()) + "), found " + found + nearest);
        }
        if (!above.add(name.text())) {
            throw new RecipeException(base.where() + ": base: " + name.text() + " is its own base");
        }
        RecipeText below = builtIn(name.text());
        return withBase(Node.parse(below.source, below.yaml, true), above).merge(fields.without(BASE), "");
    }
}
