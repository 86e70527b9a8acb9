package org.smpo.recipe;

import java.util.OptionalInt;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.TimestepSpacing;

/// Inversion, for the objectives that noise latents by it.
///
/// @param semantics meaning of the grid of timesteps
/// @param steps number of points of the grid
/// @param renoise steps that average two predictions
/// @param spacing spacing of the grid, leading or trailing
/// @param network network that predicts
/// @param slots inversion batch size in images; absent: twice the pairs of a micro-batch
public record InversionRecipe(
        Inversion.Semantics semantics,
        int steps,
        Inversion.Renoise renoise,
        TimestepSpacing spacing,
        Network network,
        OptionalInt slots) {
    /// Network that predicts the noise to add.
    public enum Network {
        /// The policy in training, as published.
        POLICY,
        /// The frozen reference.
        REFERENCE,
        /// The policy with its EMA weights.
        EMA
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public InversionRecipe {
        Check.atLeast(1, "steps", steps);
        Check.that(spacing != TimestepSpacing.LINSPACE, "spacing", "leading or trailing", "linspace");
        if (slots.isPresent()) {
            Check.atLeast(1, "slots", slots.getAsInt());
        }
    }

    static InversionRecipe read(Section in) throws RecipeException {
        return in.build(() -> new InversionRecipe(
                in.choice("semantics", Inversion.Semantics.class, Inversion.Semantics.EXACT),
                in.small("steps", 5),
                in.choice("renoise", Inversion.Renoise.class, Inversion.Renoise.EVERY_STEP),
                in.choice("spacing", TimestepSpacing.class, TimestepSpacing.LEADING),
                in.choice("network", Network.class, Network.POLICY),
                in.smallOrAuto("slots", OptionalInt.empty())));
    }

    /// The inversion as a value of `schedule`.
    ///
    /// @param eta weight of fresh noise after each step, from the objective
    public Inversion inversion(double eta) {
        return new Inversion(semantics, steps, spacing, renoise, eta);
    }
}
