package org.smpo.recipe;

import java.util.OptionalDouble;

/// Health warnings of a run, and whether they end it. Every warning except divergence uses means over the last
/// `window` steps.
///
/// @param stop whether the first warning ends the run after a checkpoint
/// @param window number of steps that are averaged, 1 or more
/// @param winnerDegradation relative increase of the policy's error on winners over the reference's that triggers
///     a warning, > 0
/// @param saturatedLogit magnitude of a logit above which a pair has hardly any gradient, > 0
/// @param saturatedFraction share of such pairs that triggers a warning, from 0 to 1
/// @param undecidedMargin magnitude of γ(2p − 1) below which a pair counts as undecided, 0 or more
/// @param undecidedFraction share of such pairs that triggers a warning, from 0 to 1
/// @param runawayLoss multiple of the first steps' loss at which a run counts as diverged, > 1; it then ends and
///     keeps the last checkpoint; absent: the loss never ends a run
/// @param runawayError multiple of the reference's error on winners at which a run counts as diverged, > 1;
///     absent: that error never ends a run
public record HealthRecipe(
        boolean stop,
        int window,
        double winnerDegradation,
        double saturatedLogit,
        double saturatedFraction,
        double undecidedMargin,
        double undecidedFraction,
        OptionalDouble runawayLoss,
        OptionalDouble runawayError) {
    /// @throws IllegalArgumentException naming the key whose value is out of range
    public HealthRecipe {
        Check.atLeast(1, "window", window);
        Check.positive("winner_degradation", winnerDegradation);
        Check.positive("saturated_logit", saturatedLogit);
        Check.unit("saturated_fraction", saturatedFraction);
        Check.notNegative("undecided_margin", undecidedMargin);
        Check.unit("undecided_fraction", undecidedFraction);
        runawayLoss.ifPresent(factor -> aboveOne("runaway_loss", factor));
        runawayError.ifPresent(factor -> aboveOne("runaway_error", factor));
    }

    private static void aboveOne(String name, double factor) {
        Check.that(factor > 1 && factor < Double.POSITIVE_INFINITY, name, "none, or a number above 1", factor);
    }

    static HealthRecipe read(Section in) throws RecipeException {
        return in.build(() -> new HealthRecipe(
                in.flag("stop", false),
                in.small("window", 20),
                in.number("winner_degradation", 0.05),
                in.number("saturated_logit", 6),
                in.number("saturated_fraction", 0.5),
                in.number("undecided_margin", 0.1),
                in.number("undecided_fraction", 0.5),
                in.numberOrNone("runaway_loss", OptionalDouble.of(4)),
                in.numberOrNone("runaway_error", OptionalDouble.of(2))));
    }
}
