package org.smpo.recipe;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/// Modules of the UNet that get adapters, by the ends of their names, as PEFT's `target_modules` does.
public sealed interface LoraTargets extends Written {
    /// Named sets of modules.
    enum Preset implements LoraTargets {
        /// The four projections of every attention, which diffusers' scripts adapt.
        ATTENTION("attention"),
        /// The attention projections and both linear layers of the feed-forward blocks.
        ATTENTION_AND_FEED_FORWARD("attention+ff");

        private final String word;

        Preset(String word) {
            this.word = word;
        }

        /// Name in a recipe.
        public String word() {
            return word;
        }

        @Override
        public List<String> names() {
            return switch (this) {
                case ATTENTION -> List.of("to_k", "to_out.0", "to_q", "to_v");
                case ATTENTION_AND_FEED_FORWARD ->
                    List.of("ff.net.0.proj", "ff.net.2", "to_k", "to_out.0", "to_q", "to_v");
            };
        }

        @Override
        public Object written() {
            return new ResolvedText.Word(word);
        }
    }

    /// Modules by name.
    ///
    /// @param names one or more names
    record Modules(List<String> names) implements LoraTargets {
        public Modules {
            names = List.copyOf(names);
            Check.that(!names.isEmpty(), "targets", "at least one name", "none");
            for (String name : names) {
                Check.that(
                        name.matches("[A-Za-z0-9_]+(\\.[A-Za-z0-9_]+)*"),
                        "targets",
                        "names of modules or their ends, such as attn2.to_k",
                        "\"" + name + "\"");
            }
        }

        @Override
        public Object written() {
            return names;
        }
    }

    /// Reads `attention`, `attention+ff` or a list of modules.
    static LoraTargets read(Section in, String key, LoraTargets otherwise) throws RecipeException {
        Optional<Node> found = in.find(key);
        if (found.isEmpty()) {
            return otherwise;
        }
        for (Preset preset : Preset.values()) {
            if (Section.isWord(found.get(), preset.word())) {
                return preset;
            }
        }
        String expected = Arrays.stream(Preset.values()).map(Preset::word).collect(Collectors.joining(", "))
                + " or a list of module names";
        return new Modules(in.list(key, expected, found.get(), (at, node) -> in.text(at, node, "a name")));
    }

    /// Module names, or their ends after a dot.
    List<String> names();

    /// Whether a module, such as `mid_block.attentions.0.transformer_blocks.0.attn1.to_q`, gets an adapter.
    default boolean selects(String module) {
        return names().stream().anyMatch(name -> module.equals(name) || module.endsWith("." + name));
    }
}
