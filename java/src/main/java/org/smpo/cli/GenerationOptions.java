package org.smpo.cli;

import java.util.Locale;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.NegativeCondition;
import org.smpo.schedule.Sampler;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// The options that decide how images are generated.
final class GenerationOptions {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(
            names = "--negative-prompt",
            paramLabel = "TEXT",
            description = "Negative prompt for all prompts that have none of their own")
    private String negativePrompt;

    @Option(
            names = "--negative-condition",
            paramLabel = "TEXT",
            completionCandidates = Choices.NegativeConditions.class,
            description = "Text that conditions a negative network: ${COMPLETION-CANDIDATES}; empty is the negative"
                    + " prompt, prompt the prompt itself (default: empty)")
    private String negativeCondition;

    @Option(
            names = "--height",
            paramLabel = "H",
            description = "Image height in pixels (default: the native height of the first model)")
    private Integer height;

    @Option(
            names = "--width",
            paramLabel = "W",
            description = "Image width in pixels (default: the native width of the first model)")
    private Integer width;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "20",
            description = "Number of denoising steps (default: ${DEFAULT-VALUE})")
    private int steps;

    @Option(
            names = "--guidance-scale",
            paramLabel = "X",
            defaultValue = "7.5",
            description = "Scale of classifier-free guidance; 1 disables it (default: ${DEFAULT-VALUE})")
    private double guidanceScale;

    @Option(
            names = "--guidance-rescale",
            paramLabel = "X",
            defaultValue = "0",
            description = "Strength of guidance rescaling, from 0 to 1 (default: ${DEFAULT-VALUE})")
    private double guidanceRescale;

    @Option(
            names = "--clip-skip",
            paramLabel = "N",
            defaultValue = "0",
            description = "Number of additional final text encoder layers to skip (default: ${DEFAULT-VALUE})")
    private int clipSkip;

    @Option(
            names = "--sampler",
            paramLabel = "NAME",
            defaultValue = "ddim",
            completionCandidates = Choices.Samplers.class,
            description = "Sampler: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE})")
    private String sampler;

    @Option(
            names = "--eta",
            paramLabel = "X",
            defaultValue = "0",
            description = "Noise that ddim adds at every step, from 0 (deterministic) to 1 (the variance of DDPM)"
                    + " (default: ${DEFAULT-VALUE})")
    private double eta;

    @Option(
            names = "--vae-tile",
            paramLabel = "PIXELS",
            defaultValue = "0",
            description = "Side of the overlapping tiles in which the VAE decodes, in pixels, to save memory; 0 decodes"
                    + " whole images (default: ${DEFAULT-VALUE})")
    private int vaeTile;

    @Option(names = "--batch", paramLabel = "N", defaultValue = "1", description = OptionTexts.BATCH_IMAGES)
    private int batch;

    GenerationOptions() {}

    /// Null without the option.
    String negativePrompt() {
        return negativePrompt;
    }

    /// The condition of negative networks.
    ///
    /// @param used Whether there is one
    NegativeCondition negativeCondition(boolean used) {
        if (negativeCondition == null) {
            return NegativeCondition.EMPTY;
        }
        if (!used) {
            throw usage("--negative-condition: expected a negative network, which it conditions, got none");
        }
        try {
            return Choices.parse(
                    "--negative-condition", Choices.NEGATIVE_CONDITIONS, NegativeCondition::id, negativeCondition);
        } catch (IllegalArgumentException e) {
            throw usage(e.getMessage());
        }
    }

    /// Everything that the options say about the images.
    GenerationConfig config() {
        try {
            return new GenerationConfig(
                    side("--width", width),
                    side("--height", height),
                    steps,
                    Sampler.Kind.parse(sampler),
                    guidanceScale,
                    guidanceRescale,
                    clipSkip,
                    vaeTile,
                    eta);
        } catch (IllegalArgumentException e) {
            throw usage(named(e.getMessage()));
        }
    }

    /// A message about a value, with the name of its option in place of the value's.
    static String named(String message) {
        int colon = message.indexOf(':');
        return "--" + message.substring(0, colon).toLowerCase(Locale.ROOT).replace(' ', '-') + message.substring(colon);
    }

    int batch() {
        if (batch < 1) {
            throw usage("--batch: expected 1 or more, got " + batch);
        }
        return batch;
    }

    private int side(String option, Integer given) {
        if (given != null && given < 1) {
            throw usage(option + ": expected a multiple of 8, got " + given);
        }
        return given == null ? 0 : given;
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }
}
