package org.smpo.generate;

import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import org.smpo.network.Prompt;

/// A batch of images to generate together.
///
/// @param prompts Prompts, one per image, each with its seed, 0 to 2^56 - 1; without one the seed is 0
/// @param config How the images are generated
/// @param initialLatents Initial latents, one per image, `[4,h,w]` row-major, standard normal, before any scaling;
///     empty: sampled from the seeds
public record ImageRequest(List<Prompt> prompts, GenerationConfig config, List<float[]> initialLatents) {
    private static final long SEEDS = 1L << 56;

    /// Checks what does not depend on the model.
    ///
    /// @throws IllegalArgumentException naming the value that is out of its range
    public ImageRequest {
        prompts = List.copyOf(prompts);
        initialLatents = List.copyOf(initialLatents);
        Objects.requireNonNull(config, "config");
        if (prompts.isEmpty()) {
            throw new IllegalArgumentException("prompts: expected one or more, got none");
        }
        for (Prompt prompt : prompts) {
            long seed = prompt.seed().orElse(0);
            if (seed < 0 || seed >= SEEDS) {
                throw new IllegalArgumentException("seed: expected 0 to 2^56 - 1, got " + seed);
            }
        }
        if (!initialLatents.isEmpty() && initialLatents.size() != prompts.size()) {
            throw new IllegalArgumentException(
                    "initial latents: expected one per image (" + prompts.size() + "), got " + initialLatents.size());
        }
    }

    /// Images of prompts with latents from their seeds.
    public static ImageRequest of(List<Prompt> prompts, GenerationConfig config) {
        return new ImageRequest(prompts, config, List.of());
    }

    /// One image of one prompt.
    public static ImageRequest of(String prompt, long seed, GenerationConfig config) {
        return of(List.of(new Prompt(prompt, null, OptionalLong.of(seed))), config);
    }
}
