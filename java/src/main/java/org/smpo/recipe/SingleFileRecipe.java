package org.smpo.recipe;

import java.nio.file.Path;
import java.util.Optional;
import org.smpo.schedule.PredictionType;

/// What a model in a single file does not record about itself.
///
/// @param config diffusers folder whose configs, tokenizers and scheduler belong to the file; absent:
///     those of the published model
/// @param predictionType quantity that the UNet predicts; absent: as the file is marked, or as its
///     weights suggest
/// @param vae folder or file whose VAE is taken in place of the file's own; absent: the file's own
public record SingleFileRecipe(Optional<Path> config, Optional<PredictionType> predictionType, Optional<Path> vae) {
    private static final SingleFileRecipe NONE =
            new SingleFileRecipe(Optional.empty(), Optional.empty(), Optional.empty());

    /// Nothing beside the file.
    public static SingleFileRecipe none() {
        return NONE;
    }

    static SingleFileRecipe read(Section in) throws RecipeException {
        return in.build(() -> new SingleFileRecipe(
                in.pathOrNone("config"),
                in.choiceOrNone("prediction_type", PredictionType.class),
                in.pathOrNone("vae")));
    }
}
