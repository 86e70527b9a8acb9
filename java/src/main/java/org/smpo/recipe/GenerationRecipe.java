package org.smpo.recipe;

import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.smpo.io.Precision;
import org.smpo.schedule.Sampler;

/// How images are generated.
///
/// @param steps number of denoising steps
/// @param sampler sampler
/// @param guidanceScale scale of classifier-free guidance; 1: no guidance
/// @param guidanceRescale strength of guidance rescaling, 0 to 1
/// @param eta noise that ddim adds at every step, 0 to 1
/// @param clipSkip number of additional final text encoder layers to skip
/// @param width width of the images in pixels; absent: the model's own
/// @param height height of the images in pixels; absent: the model's own
/// @param negativePrompt negative prompt of prompts that have none of their own; absent: none
/// @param batch number of images generated together
/// @param precision precision of the networks; absent: the device's, bf16 on a GPU and fp32 on the CPU
public record GenerationRecipe(
        int steps,
        Sampler.Kind sampler,
        double guidanceScale,
        double guidanceRescale,
        double eta,
        int clipSkip,
        OptionalInt width,
        OptionalInt height,
        Optional<String> negativePrompt,
        int batch,
        Optional<Precision> precision)
        implements Written {
    private static final String PRECISION = "precision";

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public GenerationRecipe {
        Check.atLeast(1, "steps", steps);
        Check.guidance(guidanceScale);
        Check.unit("guidance_rescale", guidanceRescale);
        Check.unit("eta", eta);
        Check.agreement(
                eta == 0 || sampler == Sampler.Kind.DDIM,
                "eta",
                "only ddim reads it; set sampler to ddim, or this to 0");
        Check.atLeast(0, "clip_skip", clipSkip);
        if (width.isPresent()) {
            Check.atLeast(1, "width", width.getAsInt());
        }
        if (height.isPresent()) {
            Check.atLeast(1, "height", height.getAsInt());
        }
        Check.atLeast(1, "batch", batch);
    }

    static GenerationRecipe read(Section in) throws RecipeException {
        return in.build(() -> new GenerationRecipe(
                in.small("steps", 20),
                in.choice("sampler", Sampler.Kind.class, Sampler.Kind.DDIM),
                in.number("guidance_scale", 7.5),
                in.number("guidance_rescale", 0),
                in.number("eta", 0),
                in.small("clip_skip", 0),
                in.smallOrAuto("width", OptionalInt.empty()),
                in.smallOrAuto("height", OptionalInt.empty()),
                in.textOrNone("negative_prompt"),
                in.small("batch", 1),
                in.choiceOrAuto(PRECISION, Precision.class)));
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (precision.isEmpty()) {
            fields.put(PRECISION, new ResolvedText.Word(Section.AUTO));
        }
        return fields;
    }
}
