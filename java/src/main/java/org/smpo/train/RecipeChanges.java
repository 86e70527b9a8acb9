package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.smpo.recipe.LearningRateRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.ResolvedValues;

/// The differences between the recipe of a resumed run and the recipe that the run began with.
///
/// Paths may change if the digests in the manifest show that their contents are the same. Settings for
/// saving and reporting may change because they have no influence on the weights. The number of steps
/// may grow if the learning rate does not depend on it. Any other change would change the results of the
/// run.
final class RecipeChanges {
    private static final String OUTPUT = "output";

    /// Keys of paths, whose contents the manifest identifies.
    private static final Set<String> PLACES = Set.of(
            "model",
            "single_file.config",
            "single_file.vae",
            OUTPUT,
            "data.paths",
            "data.mix.paths",
            "labels.scores",
            "labels.weights");

    /// Sections without influence on the weights.
    private static final List<String> REPORTS = List.of("checkpoint.", "evaluate.", "samples.", "export.");

    /// A setting that changes where numbers are kept, not the numbers.
    private static final String SHARD_OPTIMIZER = "train.shard_optimizer";

    private static final String STEPS = "train.steps";

    private RecipeChanges() {}

    /// Whether a key is the path of an input, whose contents the manifest identifies.
    static boolean isInput(String key) {
        return PLACES.contains(key) && !key.equals(OUTPUT);
    }

    /// Compares two recipes.
    ///
    /// @param file the recipe that the run began with, for messages
    /// @return one line about each difference
    /// @throws IOException naming the first difference that is not allowed, and what to do
    static List<String> require(Path file, Recipe before, Recipe now) throws IOException {
        Map<String, String> old = ResolvedValues.of(before.resolved());
        Map<String, String> current = ResolvedValues.of(now.resolved());
        Set<String> keys = new HashSet<>(old.keySet());
        keys.addAll(current.keySet());
        List<String> changes = new ArrayList<>();
        for (String key : keys.stream().sorted().toList()) {
            String was = old.getOrDefault(key, "absent");
            String is = current.getOrDefault(key, "absent");
            if (was.equals(is)) {
                continue;
            }
            String change = key + ": " + was + " then, " + key + ": " + is + " now";
            String refusal = refusal(key, before, now);
            if (!refusal.isEmpty()) {
                throw new IOException(file + ": the run was begun with another recipe: " + change + ", " + refusal);
            }
            changes.add(change);
        }
        return changes;
    }

    /// Returns why a key may not change and what to do; empty if it may change.
    private static String refusal(String key, Recipe before, Recipe now) {
        if (key.equals(SHARD_OPTIMIZER)
                || PLACES.contains(key)
                || REPORTS.stream().anyMatch(key::startsWith)) {
            return "";
        }
        if (!key.equals(STEPS)) {
            return "which would change its numbers; resume it with the old value, or begin another run";
        }
        if (now.train().steps() < before.train().steps()) {
            return "and a run can only be extended; resume it with the old value, or begin another run";
        }
        return before.learningRate()
                .map(LearningRateRecipe::schedule)
                .filter(LearningRateRecipe.Schedule::dependsOnLength)
                .map(schedule -> "and with learning_rate.schedule: "
                        + schedule.name().toLowerCase(Locale.ROOT)
                        + " every step's rate depends on the number of steps; resume it with the old value, or begin "
                        + "another run from its tuned weights (model: the folder that it exported)")
                .orElse("");
    }
}
