package org.smpo.recipe;

import java.util.List;

/// The files that a finished run writes.
///
/// @param formats one or more, each once
public record ExportRecipe(List<Format> formats) {
    /// The forms of a tuned model; adapters are merged into the weights of the first two.
    public enum Format {
        /// A folder that diffusers' `from_pretrained` loads.
        DIFFUSERS,
        /// One checkpoint file.
        SINGLE_FILE,
        /// Adapters, as PEFT and diffusers have them.
        LORA_PEFT,
        /// Adapters, as kohya's scripts and most user interfaces have them.
        LORA_KOHYA;

        boolean isLora() {
            return this == LORA_PEFT || this == LORA_KOHYA;
        }
    }

    /// @throws IllegalArgumentException when there is none, or one twice
    public ExportRecipe {
        formats = List.copyOf(formats);
        Check.that(!formats.isEmpty(), "formats", "at least one format", "none");
        Check.that(formats.stream().distinct().count() == formats.size(), "formats", "each format once", formats);
    }

    static ExportRecipe read(Section in) throws RecipeException {
        return in.build(() -> new ExportRecipe(in.choices("formats", Format.class, List.of(Format.DIFFUSERS))));
    }
}
