package org.smpo.recipe;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Pairs that are mixed into others with a fixed share of the pairs of each step.
///
/// @param paths the pairs, as for [DataRecipe]
/// @param fraction their share, above 0 and below 1
public record MixRecipe(List<Path> paths, double fraction) implements Written {
    private static final String PATHS = "paths";

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public MixRecipe {
        paths = List.copyOf(paths);
        Check.that(!paths.isEmpty(), PATHS, "at least one path", "none");
        Check.that(fraction > 0 && fraction < 1, "fraction", "a number above 0 and below 1", fraction);
    }

    /// Reads the mapping below a key; empty when it is absent or `none`.
    static Optional<MixRecipe> read(Section in, String key) throws RecipeException {
        // Rounds that were begun before mixes had a fraction have an empty list here.
        if (in.find(key).orElse(null) instanceof Node.Items items
                && items.nodes().isEmpty()) {
            return Optional.empty();
        }
        Optional<Section> found = in.sectionOrNone(key);
        if (found.isEmpty()) {
            return Optional.empty();
        }
        Section mix = found.get();
        return Optional.of(mix.build(() -> new MixRecipe(mix.paths(PATHS), mix.number("fraction"))));
    }

    /// The least number of pairs of a global batch that are not mixed in.
    public int others(int pairsPerStep) {
        return pairsPerStep - (int) Math.ceil(fraction * pairsPerStep);
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        fields.put(PATHS, paths.stream().map(Path::toString).toList());
        return fields;
    }
}
