package org.smpo.recipe;

import java.util.Collections;
import java.util.List;
import org.smpo.objective.RewardEnsemble;

/// The combination of several rewards into one label.
///
/// @param temperatures temperature of each file of scores, which turns a difference of its scores into a logit; > 0
/// @param weights relative weight of each file, 0 or more; empty: all the same
public record CombineRecipe(List<Double> temperatures, List<Double> weights) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public CombineRecipe {
        temperatures = List.copyOf(temperatures);
        weights = List.copyOf(weights);
        temperatures.forEach(temperature -> Check.positive("temperatures", temperature));
        weights.forEach(weight -> Check.notNegative("weights", weight));
        Check.that(!temperatures.isEmpty(), "temperatures", "a temperature for each file of labels.scores", "none");
        Check.that(
                weights.isEmpty() || weights.size() == temperatures.size(),
                "weights",
                "none, or one for each of the " + temperatures.size() + " temperatures",
                weights.size());
        Check.that(
                weights.isEmpty() || weights.stream().anyMatch(weight -> weight > 0),
                "weights",
                "at least one number above 0",
                weights);
    }

    static CombineRecipe read(Section in) throws RecipeException {
        return in.build(() -> new CombineRecipe(in.numbers("temperatures"), in.numbers("weights", List.of())));
    }

    /// The rewards with their temperatures and weights.
    public RewardEnsemble ensemble() {
        return new RewardEnsemble(
                temperatures, weights.isEmpty() ? Collections.nCopies(temperatures.size(), 1.0) : weights);
    }
}
