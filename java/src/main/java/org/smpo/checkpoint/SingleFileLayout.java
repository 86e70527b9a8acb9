package org.smpo.checkpoint;

import java.util.ArrayList;
import java.util.List;

/// Positions of each family's components in a single-file checkpoint.
final class SingleFileLayout {
    static final String UNET = "model.diffusion_model.";
    static final String VAE = "first_stage_model.";
    static final String SD1_TEXT = "cond_stage_model.transformer.";
    static final String SD2_TEXT = "cond_stage_model.model.";
    static final String XL_TEXT_1 = "conditioner.embedders.0.transformer.";
    static final String XL_TEXT_2 = "conditioner.embedders.1.model.";
    static final String REFINER_TEXT = "conditioner.embedders.0.model.";
    static final String CONV_IN = UNET + "input_blocks.0.0.weight";

    private SingleFileLayout() {}

    /// The components that a checkpoint holds.
    static List<String> componentNames(Family family) {
        List<String> names = new ArrayList<>(family.textEncoders());
        names.add("unet");
        names.add("vae");
        return names;
    }

    /// The beginning of the names of a component's tensors.
    static String prefix(Family family, String component) {
        return switch (component) {
            case "unet" -> UNET;
            case "vae" -> VAE;
            case "text_encoder" ->
                switch (family) {
                    case SD1 -> SD1_TEXT;
                    case SD2 -> SD2_TEXT;
                    default -> XL_TEXT_1;
                };
            default -> family == Family.SDXL ? XL_TEXT_2 : REFINER_TEXT;
        };
    }

    /// Whether a component is a text encoder in OpenCLIP's layout.
    static boolean isOpenClip(Family family, String component) {
        return component.equals("text_encoder_2") || (family == Family.SD2 && component.equals("text_encoder"));
    }
}
