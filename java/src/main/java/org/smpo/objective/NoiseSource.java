package org.smpo.objective;

/// Where the noised latents and the regression targets of a pair come from.
public enum NoiseSource {
    /// Forward diffusion; one noise and one timestep, shared by winner and loser.
    FORWARD_SHARED,
    /// Forward diffusion; one timestep per pair, each image with noise of its own.
    FORWARD_PER_IMAGE,
    /// Forward diffusion; each image with timestep and noise of its own (unpaired data).
    FORWARD_PER_IMAGE_AND_TIMESTEP,
    /// DDIM inversion of each image; the target is the noise read back from the inverted latent.
    INVERSION,
    /// DDIM inversion with fresh noise added after each step, scaled by [Objective#inversionEta].
    INVERSION_WITH_ETA
}
