package org.smpo.recipe;

import java.util.OptionalInt;
import org.smpo.objective.Objective;
import org.smpo.schedule.TruncatedRollout;

/// Rollouts of a teacher, for the objectives that train on where they end. In YAML its keys stand beside
/// the method.
///
/// @param grid number of timesteps of the grid on which rollouts run; divides the model's training
///     timesteps
/// @param rolloutSteps largest number of steps of a rollout
/// @param teacher network that predicts
/// @param slots number of images in one evaluation of the teacher; absent: twice the images of a
///     micro-batch
public record RolloutRecipe(int grid, int rolloutSteps, Teacher teacher, OptionalInt slots) {
    /// Network that predicts during rollouts.
    public enum Teacher {
        /// The policy with its EMA weights, as published.
        AVERAGE(InversionRecipe.Network.EMA),
        /// The model that training starts from.
        MODEL(InversionRecipe.Network.REFERENCE);

        private final InversionRecipe.Network network;

        Teacher(InversionRecipe.Network network) {
            this.network = network;
        }

        InversionRecipe.Network network() {
            return network;
        }
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public RolloutRecipe {
        Check.atLeast(1, "grid", grid);
        Check.atLeast(1, "rollout_steps", rolloutSteps);
        if (slots.isPresent()) {
            Check.atLeast(1, "slots", slots.getAsInt());
        }
    }

    static RolloutRecipe read(Section in) throws RecipeException {
        return in.build(() -> new RolloutRecipe(
                in.small("grid", 25),
                in.small("rollout_steps", 5),
                in.choice("teacher", Teacher.class, Teacher.AVERAGE),
                in.smallOrAuto("slots", OptionalInt.empty())));
    }

    /// The rollouts as a value of `schedule`.
    public TruncatedRollout rollout() {
        return new TruncatedRollout(grid, rolloutSteps);
    }

    /// Checks the sections of a recipe against the rollouts of its objective.
    static void check(
            Objective objective,
            RolloutRecipe rollout,
            LabelRecipe labels,
            TimestepRecipe timesteps,
            TrainRecipe train) {
        String name = objective.name();
        Check.agreement(
                rollout.teacher() != Teacher.AVERAGE || train.keepsEma(),
                "objective.teacher",
                "average needs EMA weights; set train.ema to their decay, such as 0.999, or this to model");
        Check.agreement(
                labels.probability() instanceof LabelProbability.OfScores && !labels.reversed(),
                labels.reversed() ? "labels.reversed" : "labels.probability",
                name + " compares no images; remove it, and choose images with data.images");
        Check.agreement(
                timesteps instanceof TimestepRecipe.Uniform uniform
                        && uniform.low() == 0
                        && uniform.shared().isEmpty(),
                "timesteps",
                name + " samples a timestep after the end of each rollout; keep a uniform distribution from low 0, of"
                        + " which it reads the end");
    }
}
