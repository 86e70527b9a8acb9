package org.smpo.schedule;

/// DDIM inversion of clean latents up to their training timestep on a grid of `steps` timesteps, with or
/// without the ReNoise average.
///
/// @param semantics meaning of the grid
/// @param steps number of points of the grid, n
/// @param spacing spacing of the grid, leading or trailing
/// @param renoise steps that average two predictions
/// @param eta weight of fresh noise after each step (InPO: 0.1); 0: no fresh noise
public record Inversion(Semantics semantics, int steps, TimestepSpacing spacing, Renoise renoise, double eta) {

    /// Meaning of a grid timestep s. r is `T / n` rounded down (1000 // n), the level below 0 is
    /// [NoiseSchedule#alphaInit].
    public enum Semantics {
        /// diffusers 0.20 and 0.21: the grid rolled by one, so that its first entry is negative; the UNet sees
        /// the source timestep s; from level s to s + r; steps with s < t. Ends near t, mostly above.
        V020,
        /// diffusers 0.22 and later: the UNet sees the destination timestep s; from level s - r to s; steps
        /// with s < t. Ends near t, below; a t at or below the first grid point has no step at all.
        V022,
        /// The levels are the grid points below t and then t itself; the UNet sees each destination. Ends at t.
        EXACT
    }

    /// Steps that use the mean of two predictions, e1 = UNet(x) and e2 = UNet(step(x, e1)).
    public enum Renoise {
        /// At every step, as the released code of SmPO-Diffusion does.
        EVERY_STEP,
        /// At a row's last step only, as its paper describes.
        LAST_STEP,
        /// Never: plain DDIM inversion.
        NONE
    }

    public Inversion {
        if (steps < 1) {
            throw new IllegalArgumentException("inversion steps: expected 1 or more, got " + steps);
        }
        if (spacing == TimestepSpacing.LINSPACE) {
            throw new IllegalArgumentException("inversion spacing: expected leading or trailing, got linspace");
        }
        if (!(eta >= 0 && eta <= 1)) {
            throw new IllegalArgumentException("inversion eta: expected 0 to 1, got " + eta);
        }
    }

    /// Leading spacing, the average at every step, no fresh noise.
    public static Inversion of(Semantics semantics, int steps) {
        return new Inversion(semantics, steps, TimestepSpacing.LEADING, Renoise.EVERY_STEP, 0);
    }

    public Inversion withSpacing(TimestepSpacing other) {
        return new Inversion(semantics, steps, other, renoise, eta);
    }

    public Inversion withRenoise(Renoise other) {
        return new Inversion(semantics, steps, spacing, other, eta);
    }

    public Inversion withEta(double other) {
        return new Inversion(semantics, steps, spacing, renoise, other);
    }
}
