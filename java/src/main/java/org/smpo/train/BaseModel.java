package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.SingleFile;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.SingleFileRecipe;

/// The model that a recipe starts from: a diffusers folder, or a single file with the recipe's
/// `single_file` section.
public final class BaseModel {
    private BaseModel() {}

    /// Opens the model. The caller closes it.
    ///
    /// @throws IllegalArgumentException when the model is a folder and the recipe has a `single_file`
    ///     section
    static ModelFiles open(Recipe recipe) throws IOException {
        if (Files.isDirectory(recipe.model()) && !recipe.singleFile().equals(SingleFileRecipe.none())) {
            throw new IllegalArgumentException("single_file: expected a model in a single file, found the folder "
                    + recipe.model() + ", which has its own configs; leave the section out");
        }
        return open(recipe, recipe.model());
    }

    /// Opens another model that belongs to the recipe, such as the reference. The caller closes it.
    static ModelFiles open(Recipe recipe, Path path) throws IOException {
        return Files.isRegularFile(path) ? SingleFile.open(path, options(recipe)) : ModelFiles.open(path);
    }

    /// Returns what a recipe says of its single file that the file itself does not record.
    public static SingleFile.Options options(Recipe recipe) {
        SingleFileRecipe file = recipe.singleFile();
        return new SingleFile.Options(
                file.config().orElse(null),
                file.predictionType().orElse(null),
                file.vae().orElse(null),
                "recipe key single_file.");
    }
}
