package org.smpo.train;

import java.util.LinkedHashMap;
import java.util.Map;
import org.smpo.ffi.Device;
import org.smpo.parallel.World;
import org.smpo.recipe.Recipe;

/// Where each of several processes of a run computes, and what must be equal on all of them.
final class Placement {
    /// Manifest entry: number of processes, where there are several.
    static final String RANKS = "ranks";

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
        all.put("recipe", recipe.resolved());
        manifest.forEach((name, value) -> {
            if (!name.equals("cpu") && !name.equals("device")) {
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
