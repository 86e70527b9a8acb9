package org.smpo.train;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.smpo.ffi.Device;
import org.smpo.parallel.World;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.ResolvedValues;

/// Where each of several processes of a run computes, and what must be equal on all of them.
final class Placement {
    /// Manifest entry: number of processes, where there are several.
    static final String RANKS = "ranks";

    /// Entries of a manifest about the machine, and about the recipe's text with its paths.
    private static final Set<String> OWN = Set.of("cpu", "device", "recipe_sha256");

    private Placement() {}

    /// The device of this process.
    static Device device(Recipe recipe, World world) {
        return Device.parse(world.device(recipe.train().device()));
    }

    /// The number of threads of this process: that of the recipe, else its share of the machine's cores.
    static int threads(Recipe recipe, World world) {
        return world.threads(recipe.train().threads().orElse(0));
    }

    /// What must be the same on all processes: the recipe and the manifest, but for the machine and for
    /// where files are.
    static Map<String, String> shared(Recipe recipe, Map<String, Object> manifest) {
        Map<String, String> all = new LinkedHashMap<>();
        all.put(
                "recipe",
                ResolvedValues.of(recipe.resolved()).entrySet().stream()
                        .filter(entry -> !RecipeChanges.isInput(entry.getKey()))
                        .map(entry -> entry.getKey() + ": " + entry.getValue())
                        .sorted()
                        .collect(Collectors.joining("\n")));
        manifest.forEach((name, value) -> {
            if (!OWN.contains(name)) {
                flatten(name, value, all);
            }
        });
        return all;
    }

    private static void flatten(String name, Object value, Map<String, String> all) {
        if (value instanceof Map<?, ?> parts) {
            parts.forEach((key, part) -> {
                if (!Run.PLACES.contains(key)) {
                    flatten(name + "." + key, part, all);
                }
            });
        } else {
            all.put(name, String.valueOf(value));
        }
    }
}
