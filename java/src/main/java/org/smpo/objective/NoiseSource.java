package org.smpo.objective;

/// Where the noised latents and the regression targets of a pair come from.
public enum NoiseSource {
    /// Forward diffusion; winner and loser share one noise.
    FORWARD_SHARED,
    /// Forward diffusion; each image has noise of its own.
    FORWARD_PER_IMAGE,
    /// DDIM inversion of each image; the target is the noise read back from the inverted latent.
    INVERSION,
    /// A teacher's short rollout from the image's noised latents; noised again at its end, the target is
    /// what the teacher predicts there.
    ROLLOUT,
    /// The pair brings them: latents of the policy's own trajectory, and the targets of two candidates
    /// for its next step.
    GIVEN
}
