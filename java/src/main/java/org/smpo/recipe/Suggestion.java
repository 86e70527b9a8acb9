package org.smpo.recipe;

import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/// Suggestions for unknown keys.
final class Suggestion {
    private Suggestion() {}

    /// The end of a message about an unknown key: our key for another trainer's name, otherwise a similar key of the
    /// same section, otherwise the same key of another section, otherwise the known keys.
    static String of(String key, String path, Collection<String> known) {
        Optional<String> ours = ForeignKeys.ours(key);
        if (ours.isPresent() && !known.contains(key)) {
            return "; here this is " + ours.get();
        }
        String prefix = path.isEmpty() ? "" : path + ".";
        String nearest = nearest(key, known);
        if (!nearest.isEmpty()) {
            return nearest.replace("did you mean ", "did you mean " + prefix);
        }
        List<String> elsewhere = Recipe.knownKeys().stream()
                .filter(other -> other.equals(key) || other.endsWith("." + key))
                .limit(3)
                .toList();
        if (!elsewhere.isEmpty()) {
            return "; did you mean " + Section.oneOf(elsewhere) + "?";
        }
        return "; known here: " + String.join(", ", known);
    }

    /// `; did you mean KEY?`, or nothing when none is near.
    static String nearest(String key, Collection<String> known) {
        return known.stream()
                .filter(other -> isNear(key, other))
                .min(Comparator.comparingInt(other -> distance(key, other)))
                .map(other -> "; did you mean " + other + "?")
                .orElse("");
    }

    /// Whether two words differ in at most a third of their letters.
    static boolean isNear(String a, String b) {
        return distance(a, b) <= Math.max(1, Math.max(a.length(), b.length()) / 3);
    }

    /// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment distance).
    static int distance(String a, String b) {
        int[][] d = new int[a.length() + 1][b.length() + 1];
        for (int i = 0; i <= a.length(); i++) {
            for (int j = 0; j <= b.length(); j++) {
                if (i == 0 || j == 0) {
                    d[i][j] = i + j;
                    continue;
                }
                int replaced = d[i - 1][j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                d[i][j] = Math.min(replaced, 1 + Math.min(d[i - 1][j], d[i][j - 1]));
                boolean swapped =
                        i > 1 && j > 1 && a.charAt(i - 1) == b.charAt(j - 2) && a.charAt(i - 2) == b.charAt(j - 1);
                if (swapped) {
                    d[i][j] = Math.min(d[i][j], 1 + d[i - 2][j - 2]);
                }
            }
        }
        return d[a.length()][b.length()];
    }
}
