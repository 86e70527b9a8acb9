package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.smpo.checkpoint.PeftFile;
import org.smpo.checkpoint.SingleFile;
import org.smpo.io.Json;
import org.smpo.recipe.Recipe;

/// The files that a finished run left in its folder.
///
/// @param model diffusers folder or checkpoint of the tuned model, or of the model that the adapters
///     belong to
/// @param options what a checkpoint does not record
/// @param lora adapters, if the run exported nothing else
/// @param log log with one object per step
/// @param recipe the resolved recipe
public record FinishedRun(Path model, SingleFile.Options options, Optional<Path> lora, Path log, Path recipe) {
    /// Whether a folder holds a run.
    public static boolean isRun(Path folder) {
        return Files.isDirectory(folder) && RunFolder.unlocked(folder).hasRun();
    }

    /// The folder of the run that made a model to be used as a negative network, if one did.
    ///
    /// @param path folder of the run, or a model or LoRA in it
    public static Optional<Path> negativeRun(Path path) {
        Path parent = path.toAbsolutePath().normalize().getParent();
        for (Path folder : parent == null ? List.of(path) : List.of(path, parent)) {
            if (isRun(folder) && isNegative(RunFolder.unlocked(folder).manifest())) {
                return Optional.of(folder);
            }
        }
        return Optional.empty();
    }

    private static boolean isNegative(Path manifest) {
        try {
            return RunFolder.NEGATIVE.equals(Json.readObject(manifest).asMap().get(RunFolder.ROLE));
        } catch (IOException e) {
            return false; // A run without a readable manifest is reported where the run itself is read.
        }
    }

    /// Finds the tuned model: the exported diffusers folder, else the checkpoint, else the adapters.
    ///
    /// @param folder folder of a run
    /// @throws IOException when it has no tuned model, or its recipe cannot be read
    public static FinishedRun open(Path folder) throws IOException {
        RunFolder run = RunFolder.unlocked(folder);
        Recipe recipe = Recipe.read(run.recipe(), List.of());
        // The folder may have been renamed since; before runs named their files, it was "model" and "lora_kohya".
        List<String> names = List.of(RunFolder.name(recipe.output()), RunFolder.name(folder));
        if (Files.isDirectory(run.model())) {
            return new FinishedRun(run.model(), SingleFile.Options.none(), Optional.empty(), run.log(), run.recipe());
        }
        Optional<Path> checkpoint = first(folder, names, "", "model.safetensors");
        if (checkpoint.isPresent()) {
            Path config = Files.isDirectory(recipe.model())
                    ? recipe.model()
                    : recipe.singleFile().config().orElse(null);
            return new FinishedRun(
                    checkpoint.get(),
                    new SingleFile.Options(config, null, null),
                    Optional.empty(),
                    run.log(),
                    run.recipe());
        }
        Optional<Path> adapters = Files.exists(folder.resolve(PeftFile.FILE_NAME))
                ? Optional.of(folder.resolve(PeftFile.FILE_NAME))
                : first(folder, names, "-lora", "lora_kohya.safetensors");
        if (adapters.isPresent()) {
            return new FinishedRun(recipe.model(), BaseModel.options(recipe), adapters, run.log(), run.recipe());
        }
        throw new IOException(folder + ": expected a tuned model in this run's folder (model, " + names.getFirst()
                + ".safetensors or a LoRA), found none: the run is not finished; resume it with smpo train --resume");
    }

    private static Optional<Path> first(Path folder, List<String> names, String suffix, String older) {
        return Stream.concat(names.stream().map(name -> name + suffix + ".safetensors"), Stream.of(older))
                .map(folder::resolve)
                .filter(Files::exists)
                .findFirst();
    }
}
