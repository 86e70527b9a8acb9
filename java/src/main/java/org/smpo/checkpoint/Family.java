package org.smpo.checkpoint;

import java.util.List;

/// The supported model families.
public enum Family {
    SD1("Stable Diffusion 1.x", "StableDiffusionPipeline", "sd1"),
    SD2("Stable Diffusion 2.x", "StableDiffusionPipeline", "sd2"),
    SDXL("Stable Diffusion XL base", "StableDiffusionXLPipeline", "sdxl"),
    SDXL_REFINER("Stable Diffusion XL refiner", "StableDiffusionXLImg2ImgPipeline", "sdxl-refiner");

    private final String title;
    private final String pipelineClass;
    private final String id;

    Family(String title, String pipelineClass, String id) {
        this.title = title;
        this.pipelineClass = pipelineClass;
        this.id = id;
    }

    /// Returns the name for display.
    public String title() {
        return title;
    }

    /// Class of the diffusers pipeline.
    public String pipelineClass() {
        return pipelineClass;
    }

    /// Returns the name used on the command line.
    public String id() {
        return id;
    }

    /// The text encoders' names.
    public List<String> textEncoders() {
        return switch (this) {
            case SD1, SD2 -> List.of("text_encoder");
            case SDXL -> List.of("text_encoder", "text_encoder_2");
            case SDXL_REFINER -> List.of("text_encoder_2");
        };
    }
}
