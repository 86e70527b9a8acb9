package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.smpo.recipe.Recipe;

/// What a run that came to its end left in its folder.
///
/// @param model a diffusers folder or a checkpoint: the tuned model, or what the adapters belong to
/// @param config for a checkpoint: the diffusers folder that has its tokenizers
/// @param lora adapters, where the run exported nothing else
/// @param log one object per step
/// @param recipe the resolved recipe
public record FinishedRun(Path model, Optional<Path> config, Optional<Path> lora, Path log, Path recipe) {
    /// Whether a folder is that of a run.
    public static boolean isRun(Path folder) {
        return Files.isDirectory(folder) && RunFolder.unlocked(folder).hasRun();
    }

    /// Finds the tuned model: of what was exported the diffusers folder, else the checkpoint, else adapters.
    ///
    /// @param folder of a run
    /// @throws IOException when it has no tuned model (yet), or its recipe cannot be read
    public static FinishedRun open(Path folder) throws IOException {
        RunFolder run = RunFolder.unlocked(folder);
        Recipe recipe = Recipe.read(run.recipe(), List.of());
        Path checkpoint = folder.resolve("model.safetensors");
        if (Files.isDirectory(run.model())) {
            return new FinishedRun(run.model(), Optional.empty(), Optional.empty(), run.log(), run.recipe());
        }
        if (Files.exists(checkpoint)) {
            return new FinishedRun(checkpoint, Optional.of(recipe.model()), Optional.empty(), run.log(), run.recipe());
        }
        for (String adapters : List.of("pytorch_lora_weights.safetensors", "lora_kohya.safetensors")) {
            if (Files.exists(folder.resolve(adapters))) {
                return new FinishedRun(
                        recipe.model(),
                        Optional.empty(),
                        Optional.of(folder.resolve(adapters)),
                        run.log(),
                        run.recipe());
            }
        }
        throw new IOException(folder + ": expected a tuned model in this run's folder (model, model.safetensors or a"
                + " LoRA), found none: the run is not finished; smpo train --resume goes on with it");
    }
}
