package org.smpo.network;

import java.util.OptionalLong;

/// What to draw.
///
/// @param text what the picture should show
/// @param negative what it should not show; null: not given, which SDXL takes otherwise than the empty text
/// @param seed of the picture's noise, where the prompt brings its own
/// @param category what kind of prompt it is, where a list of prompts sorts them, such as `Animals`; null: none
public record Prompt(String text, String negative, OptionalLong seed, String category) {
    /// A prompt of no category.
    public Prompt(String text, String negative, OptionalLong seed) {
        this(text, negative, seed, null);
    }

    /// A prompt of text alone.
    public static Prompt of(String text) {
        return new Prompt(text, null, OptionalLong.empty());
    }
}
