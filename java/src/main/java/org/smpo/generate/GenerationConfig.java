package org.smpo.generate;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.io.ImageSettings;
import org.smpo.network.Prompt;
import org.smpo.schedule.Ddim;
import org.smpo.schedule.Sampler;

/// How images are generated: everything that decides them besides the model, the prompts and the seeds.
///
/// @param width Width of the images in pixels, a multiple of the VAE's downscale factor (8); 0: the model's own
/// @param height Height of the images in pixels, likewise
/// @param steps Number of sampling steps, 1 or more
/// @param sampler Sampling rule
/// @param guidanceScale Scale of classifier-free guidance; 1 or less: no guidance
/// @param guidanceRescale Strength of guidance rescaling, 0 to 1 (arXiv 2305.08891, section 3.4); 0: none
/// @param clipSkip Number of final text encoder layers to skip for the prompt beyond those that the model skips; the
///     negative prompt is encoded without skipping, as in diffusers
/// @param vaeTile Side of the tiles that the VAE decodes, in pixels, a multiple of 4 times its downscale factor: less
///     memory, with overlapping tiles blended into one another; 0: the whole image
/// @param eta Amount of noise that DDIM adds at every step: 0 is deterministic, 1 has the variance of DDPM; 0 for other
///     samplers
public record GenerationConfig(
        int width,
        int height,
        int steps,
        Sampler.Kind sampler,
        double guidanceScale,
        double guidanceRescale,
        int clipSkip,
        int vaeTile,
        double eta) {
    /// Side of the images of a model that does not name the resolution it was trained at.
    private static final int DEFAULT_SIDE = 512;

    /// Checks what does not depend on the model.
    ///
    /// @throws IllegalArgumentException naming the value that is out of its range
    public GenerationConfig {
        Objects.requireNonNull(sampler, "sampler");
        require(width >= 0, "width", "0 or more", width);
        require(height >= 0, "height", "0 or more", height);
        require(steps >= 1, "steps", "1 or more", steps);
        require(Double.isFinite(guidanceScale), "guidance scale", "a finite number", guidanceScale);
        require(guidanceRescale >= 0 && guidanceRescale <= 1, "guidance rescale", "0 to 1", guidanceRescale);
        require(clipSkip >= 0, "clip skip", "0 or more", clipSkip);
        require(vaeTile >= 0, "VAE tile", "0 or more", vaeTile);
        require(eta >= 0 && eta <= 1, "eta", "0 to 1", eta);
        require(
                eta == 0 || sampler == Sampler.Kind.DDIM,
                "eta",
                "0 with sampler " + sampler.id() + ", since only ddim reads it",
                eta);
    }

    private static void require(boolean holds, String what, String expected, Object found) {
        if (!holds) {
            throw new IllegalArgumentException(what + ": expected " + expected + ", got " + found);
        }
    }

    /// 20 steps of DDIM with guidance 7.5, at the model's own resolution.
    public static GenerationConfig standard() {
        return new GenerationConfig(0, 0, 20, Sampler.Kind.DDIM, 7.5, 0, 0, 0, 0);
    }

    /// This config with another size.
    public GenerationConfig withSize(int newWidth, int newHeight) {
        return new GenerationConfig(
                newWidth, newHeight, steps, sampler, guidanceScale, guidanceRescale, clipSkip, vaeTile, eta);
    }

    /// The sampler with this config's eta and the options of a model's `scheduler_config.json`.
    ///
    /// @throws IllegalArgumentException naming an option that is not supported
    Sampler samplerOf(Map<String, Object> schedulerConfig) {
        return eta == 0 ? sampler.fromConfig(schedulerConfig) : Ddim.fromConfig(schedulerConfig, eta);
    }

    /// This config with another sampler and number of steps.
    public GenerationConfig withSampler(Sampler.Kind newSampler, int newSteps) {
        return new GenerationConfig(
                width, height, newSteps, newSampler, guidanceScale, guidanceRescale, clipSkip, vaeTile, eta);
    }

    /// This config with another guidance scale.
    public GenerationConfig withGuidanceScale(double newScale) {
        return new GenerationConfig(width, height, steps, sampler, newScale, guidanceRescale, clipSkip, vaeTile, eta);
    }

    /// This config with another amount of noise.
    GenerationConfig withEta(double newEta) {
        return new GenerationConfig(
                width, height, steps, sampler, guidanceScale, guidanceRescale, clipSkip, vaeTile, newEta);
    }

    /// This config with the model's own resolution in place of sides that are 0, checked against what its VAE takes.
    /// No weights are read.
    ///
    /// @throws IllegalArgumentException when the size or the tile is no multiple of what the VAE takes
    /// @throws IOException when the model has no UNet or no VAE
    public GenerationConfig sizedFor(ModelFiles model) throws IOException {
        int scale = model.vae().scale();
        int trained =
                model.unet().sampleSize() == 0 ? DEFAULT_SIDE : model.unet().sampleSize() * scale;
        GenerationConfig sized = withSize(width == 0 ? trained : width, height == 0 ? trained : height);
        sized.requireFits(scale);
        return sized;
    }

    /// Checks the sizes against a VAE.
    ///
    /// @param scale Number of pixels along each side of one latent
    void requireFits(int scale) {
        require(height > 0 && height % scale == 0, "height", "a multiple of " + scale, height);
        require(width > 0 && width % scale == 0, "width", "a multiple of " + scale, width);
        require(vaeTile % (4 * scale) == 0, "VAE tile", "0 or a multiple of " + 4 * scale, vaeTile);
    }

    /// Checks that guidance evaluates a negative network.
    ///
    /// @throws IllegalArgumentException without guidance
    public void requireGuidance() {
        require(
                guidanceScale > 1,
                "guidance scale",
                "above 1 with a negative network, which 1 never evaluates",
                guidanceScale);
    }

    /// The values by the names that manifests and reports use.
    public Map<String, Object> asMap() {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("height", height);
        all.put("width", width);
        all.put("steps", steps);
        all.put("sampler", sampler.id());
        all.put("guidance_scale", guidanceScale);
        all.put("guidance_rescale", guidanceRescale);
        all.put("clip_skip", clipSkip);
        all.put("vae_tile", vaeTile);
        // Absent without noise, as in the manifests of versions that had no eta.
        if (eta != 0) {
            all.put("eta", eta);
        }
        return all;
    }

    /// The metadata of an image that was generated with this config.
    ///
    /// @param prompt Prompt of the image
    /// @param seed Seed of the image
    /// @param more Further settings by name, such as `model` or `precision`
    public ImageSettings metadata(Prompt prompt, long seed, Map<String, Object> more) {
        Map<String, Object> all = new LinkedHashMap<>(more);
        if (guidanceRescale != 0) {
            all.put("guidance_rescale", guidanceRescale);
        }
        if (clipSkip != 0) {
            all.put("clip_skip", (long) clipSkip);
        }
        if (vaeTile != 0) {
            all.put("vae_tile", (long) vaeTile);
        }
        if (eta != 0) {
            all.put("eta", eta);
        }
        return new ImageSettings(
                prompt.text(),
                prompt.negative() == null ? "" : prompt.negative(),
                seed,
                steps,
                sampler.id(),
                guidanceScale,
                width,
                height,
                all);
    }
}
