package org.smpo.random;

/// Use of a random number: the part of the Philox counter that keeps two uses at the same step and item
/// apart.
///
/// The numbers are part of every run's reproducibility: a number is never changed or reused, and a new
/// purpose takes the next free one. The native engine has the same numbers as its `purpose` argument, in
/// `[0, 256)`.
public enum Purpose {
    /// Training timestep of a pair, or of an image where each has its own. Step: the optimizer step;
    /// item: the pair's place in the global batch; for images twice that, and one more for the loser.
    TIMESTEPS(1),
    /// Order of the training pairs. Step: the epoch; item: 0.
    DATA_ORDER(2),
    /// Replacement of a pair's caption by the empty one. Step: the epoch; item: the pair.
    CAPTION_DROPOUT(3),
    /// The normal of the VAE posterior's sample. Step: the optimizer step; item: the image's row.
    VAE_SAMPLE(4),
    /// Forward noise of methods that do not invert, and of the start of a rollout. Step: the optimizer
    /// step; item: the pair, or the row.
    FORWARD_NOISE(5),
    /// Noise added by a step of an inversion (InPO) or by the last one of a rollout (Self-NPO). Step:
    /// the optimizer step; item: the row and the step in its list.
    INVERSION_NOISE(6),
    /// The latents that sampling starts from. Item: the image.
    INITIAL_LATENTS(7),
    /// Noise added between sampling steps (DDIM with eta above 0). Step: the sampling step; item: the
    /// image.
    SAMPLER_NOISE(8),
    /// Place of a random crop. Step: the epoch; item: the image.
    CROP(9),
    /// Mirroring of an image. Step: the epoch; item: the image.
    FLIP(10),
    /// Resamples of an evaluation's confidence intervals. Item: the resample.
    BOOTSTRAP(11),
    /// Initial weights of new parameters (LoRA's down projections). Item: the parameter.
    INITIAL_WEIGHTS(12),
    /// Choice of the held-out pairs. Step and item: 0.
    HELD_OUT(13),
    /// Choice of the demo's scene for a caption and of the error in a wrong image of it. Step: what is
    /// chosen; item: the scene.
    DEMO_SCENES(14),
    /// Position, size and shade in the demo's images. Step: which image of the scene; item: the scene.
    DEMO_IMAGES(15),
    /// Where a rollout starts, and the timestep at which its end is trained on (Self-NPO). Step: the
    /// optimizer step; item: twice the image's place in the global batch for the start, one more for the
    /// timestep.
    ROLLOUT_LEVELS(16),
    /// Choice of pairs among the images of a group. Step: 0; item: the group's prompt.
    GROUP_CHOICE(18),
    /// Order of a tournament's images, and the choice of its loser. Step: 0 for the order, 1 for the
    /// loser; item: the group's prompt.
    TOURNAMENT(19),
    /// Which image of a comparison a judge sees first. Step: the comparison; item: the group's prompt.
    JUDGE_ORDER(20),
    /// Choice of the steps of a trajectory at which candidates are compared. Step: the rollout; item: 0.
    TRAJECTORY_STEPS(21),
    /// The candidate with which a trajectory continues. Step: the sampling step; item: the trajectory.
    CONTINUATION(22),
    /// Whether a desirable image is trained on, and which of its kind. Step: the optimizer step; item:
    /// the image's place in the global batch.
    IMAGE_KIND(23),
    /// Order of the pairs of a rollout. Step: the rollout; item: 0.
    ROLLOUT_ORDER(24),
    /// Order of the pairs that are mixed into others. Step: the epoch; item: 0.
    MIX_ORDER(25);

    private final int code;

    Purpose(int code) {
        this.code = code;
    }

    /// The number in the counter, in `[1, 256)`; 0 stays free for callers of the engine that name no
    /// purpose.
    public int code() {
        return code;
    }
}
