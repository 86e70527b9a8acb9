package org.smpo.recipe;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// The values of a resolved recipe, for comparisons of two.
public final class ResolvedValues {
    private ResolvedValues() {}

    /// Returns the values of a resolved recipe by their full keys, such as `train.steps`.
    public static Map<String, String> of(String resolved) {
        Map<String, String> values = new LinkedHashMap<>();
        List<String> path = new ArrayList<>();
        for (String line : resolved.lines().toList()) {
            String text = line.stripLeading();
            int depth = (line.length() - text.length()) / 2;
            int colon = text.indexOf(':');
            while (path.size() > depth) {
                path.removeLast();
            }
            path.add(text.substring(0, colon));
            if (colon + 1 < text.length()) {
                values.put(String.join(".", path), text.substring(colon + 1).strip());
            }
        }
        return values;
    }
}
