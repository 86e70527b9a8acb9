package org.smpo.generate;

import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import org.smpo.network.Prompt;

/// Pictures to make at once.
///
/// @param prompts one per picture, each with its seed, 0 to 2^56 - 1; without one the seed is 0
/// @param height in pixels, a multiple of what one latent stands for (8)
/// @param width likewise
/// @param steps of the sampler, 1 or more
/// @param sampler the rule
/// @param guidanceScale weight of the prompt against the negative one; 1 or less: no guidance
/// @param guidanceRescale 0 to 1: Lin et al., arXiv 2305.08891, section 3.4; 0: none
/// @param clipSkip further layers of the text encoders that are left out at the end for the prompt (the negative one
///     keeps the model's own, as in diffusers); 0: only those that the model leaves out
/// @param initialLatents one per picture, `[4,h,w]` row-major, standard normal, before any scaling; empty: drawn
///     from the seeds
/// @param vaeTile side of the tiles that the VAE decodes, in pixels: less memory, and seams that fade into one
///     another; a multiple of 4 times what one latent stands for; 0: the picture at once
public record ImageRequest(
        List<Prompt> prompts,
        int height,
        int width,
        int steps,
        SamplerName sampler,
        double guidanceScale,
        double guidanceRescale,
        int clipSkip,
        List<float[]> initialLatents,
        int vaeTile) {

    /// Checks what does not depend on the model.
    ///
    /// @throws IllegalArgumentException naming the value that is out of its range
    public ImageRequest {
        prompts = List.copyOf(prompts);
        initialLatents = List.copyOf(initialLatents);
        Objects.requireNonNull(sampler, "sampler");
        require(!prompts.isEmpty(), "prompts", "one or more", "none");
        for (Prompt prompt : prompts) {
            long seed = prompt.seed().orElse(0);
            require(seed >= 0 && seed < 1L << 56, "seed", "0 to 2^56 - 1", seed);
        }
        require(steps >= 1, "steps", "1 or more", steps);
        require(Double.isFinite(guidanceScale), "guidance scale", "a finite number", guidanceScale);
        require(guidanceRescale >= 0 && guidanceRescale <= 1, "guidance rescale", "0 to 1", guidanceRescale);
        require(clipSkip >= 0, "clip skip", "0 or more", clipSkip);
        require(vaeTile >= 0, "VAE tile", "0 or more", vaeTile);
        require(
                initialLatents.isEmpty() || initialLatents.size() == prompts.size(),
                "initial latents",
                "one per picture (" + prompts.size() + ")",
                initialLatents.size());
    }

    /// 20 steps of DDIM with guidance 7.5.
    public static ImageRequest of(String prompt, long seed, int height, int width) {
        Prompt only = new Prompt(prompt, null, OptionalLong.of(seed));
        return new ImageRequest(List.of(only), height, width, 20, SamplerName.DDIM, 7.5, 0, 0, List.of(), 0);
    }

    private static void require(boolean holds, String what, String expected, Object found) {
        if (!holds) {
            throw new IllegalArgumentException(what + ": expected " + expected + ", got " + found);
        }
    }
}
