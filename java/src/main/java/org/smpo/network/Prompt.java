package org.smpo.network;

import java.util.OptionalLong;

/// A prompt to generate an image from.
///
/// @param text Prompt text
/// @param negative Negative prompt; null when none is given, which SDXL treats differently from the empty text
/// @param seed Seed of the image's noise, where the prompt brings its own
/// @param category Category in a prompt list, such as `Animals`; null for none
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
