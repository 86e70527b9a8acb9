package org.smpo.recipe;

import java.util.List;

/// The files that a finished run writes.
///
/// @param formats one or more formats, each once
public record ExportRecipe(List<Format> formats) {
    /// Formats of a tuned model. Adapters are merged into the weights of the first two.
    public enum Format {
        /// A folder that diffusers' `from_pretrained` loads.
        DIFFUSERS,
        /// One checkpoint file.
        SINGLE_FILE,
        /// Adapters in the format of PEFT and diffusers.
        LORA_PEFT,
        /// Adapters in the format of kohya's scripts and most user interfaces.
        LORA_KOHYA;

        boolean isLora() {
            return this == LORA_PEFT || this == LORA_KOHYA;
        }
    }

    /// @throws IllegalArgumentException when there is no format, or one twice
    public ExportRecipe {
        formats = List.copyOf(formats);
        Check.that(!formats.isEmpty(), "formats", "at least one format", "none");
        Check.that(formats.stream().distinct().count() == formats.size(), "formats", "each format once", formats);
    }

    static ExportRecipe read(Section in) throws RecipeException {
        return in.build(() -> new ExportRecipe(in.choices("formats", Format.class, List.of(Format.DIFFUSERS))));
    }
}
