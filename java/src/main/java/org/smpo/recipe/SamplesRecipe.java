package org.smpo.recipe;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import org.smpo.schedule.Sampler;

/// Images generated during a run: every prompt with every seed, the same each time.
///
/// @param prompts prompts of the images
/// @param every number of steps between two sets; absent: no images
/// @param seeds seeds of the initial noise
/// @param steps number of sampling steps
/// @param guidanceScale scale of classifier-free guidance; 1: no guidance
/// @param sampler sampling rule
/// @param draws network on which the policy is sampled; absent: the one for which the labels train it.
///     Written only when present, so that recipes from before this key keep their text.
public record SamplesRecipe(
        List<String> prompts,
        OptionalLong every,
        List<Long> seeds,
        int steps,
        double guidanceScale,
        Sampler.Kind sampler,
        Optional<Draws> draws)
        implements Written {
    private static final String DRAWS = "draws";

    /// Place of the policy in the guidance of the samples.
    public enum Draws {
        /// The policy is the model.
        POLICY,
        /// The policy is the negative network of the model that training starts from.
        NEGATIVE
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public SamplesRecipe {
        prompts = List.copyOf(prompts);
        seeds = List.copyOf(seeds);
        every.ifPresent(interval -> Check.atLeast(1, "every", interval));
        Check.agreement(
                every.isEmpty() || !prompts.isEmpty(),
                "prompts",
                "images every " + every.orElse(0) + " steps need a prompt; add one, or set samples.every to none");
        Check.that(!seeds.isEmpty(), "seeds", "at least one seed", "none");
        Check.atLeast(1, "steps", steps);
        Check.guidance(guidanceScale);
    }

    static SamplesRecipe read(Section in) throws RecipeException {
        return in.build(() -> new SamplesRecipe(
                in.texts("prompts", List.of()),
                in.integerOrNone("every", OptionalLong.empty()),
                in.integers("seeds", List.of(0L)),
                in.small("steps", 20),
                in.number("guidance_scale", 7.5),
                in.choice("sampler", Sampler.Kind.class, Sampler.Kind.DDIM),
                Optional.ofNullable(in.choice(DRAWS, Draws.class, null))));
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (draws.isEmpty()) {
            fields.remove(DRAWS);
        }
        return fields;
    }
}
