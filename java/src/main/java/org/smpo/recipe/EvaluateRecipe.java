package org.smpo.recipe;

import java.util.OptionalInt;
import java.util.OptionalLong;

/// Evaluation on held-out pairs during a run: loss and implicit accuracy, and for objectives that invert also
/// the accuracy with forward noise (`forward_accuracy` in the log).
///
/// @param every number of steps between evaluations; absent: never
/// @param pairs number of held-out pairs, from the first; absent: all of them
public record EvaluateRecipe(OptionalLong every, OptionalInt pairs) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public EvaluateRecipe {
        every.ifPresent(steps -> Check.atLeast(1, "every", steps));
        if (pairs.isPresent()) {
            Check.atLeast(1, "pairs", pairs.getAsInt());
        }
    }

    static EvaluateRecipe read(Section in) throws RecipeException {
        return in.build(() -> new EvaluateRecipe(
                in.integerOrNone("every", OptionalLong.empty()), in.smallOrAuto("pairs", OptionalInt.empty())));
    }
}
