package org.smpo.recipe;

import java.util.OptionalInt;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.TimestepSpacing;

/// How latents are noised by inversion, for the objectives that do so.
///
/// @param semantics of the grid of timesteps
/// @param steps points of the grid
/// @param renoise where two predictions are averaged
/// @param spacing of the grid, leading or trailing
/// @param network which one predicts
/// @param slots images in the fixed-size batch of the inversion; absent: twice the pairs of a micro-batch
public record InversionRecipe(
        Inversion.Semantics semantics,
        int steps,
        Inversion.Renoise renoise,
        TimestepSpacing spacing,
        Network network,
        OptionalInt slots) {
    /// Which network predicts the noise that is put in.
    public enum Network {
        /// The one in training, as published.
        POLICY,
        /// The frozen one.
        REFERENCE,
        /// The running mean of the policy's weights.
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

    /// The inversion itself.
    ///
    /// @param eta weight of fresh noise after each step, the objective's
    public Inversion inversion(double eta) {
        return new Inversion(semantics, steps, spacing, renoise, eta);
    }
}
