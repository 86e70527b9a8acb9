package org.smpo.recipe;

import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalInt;
import org.smpo.objective.NoiseSource;
import org.smpo.objective.Objective;

/// How the policy generates the pairs of its own steps: DDIM with noise from prompts, where some steps
/// have several candidates that a reward ranks.
///
/// @param prompts file of prompts; relative to the working directory
/// @param promptsPerRollout number of trajectories that are generated between two optimizer steps
/// @param steps number of sampling steps
/// @param eta noise of a step, above 0 up to 1 (the variance of DDPM)
/// @param guidanceScale scale of classifier-free guidance, both in the trajectory and in the loss; 1:
///     none
/// @param candidates number of candidates of a compared step
/// @param firstStep first sampling step that is compared, from 0
/// @param comparedSteps number of compared steps per rollout, chosen anew for each; absent: all from
///     the first one
/// @param minPreference smallest preference 2 σ(difference of scores) − 1 of a pair that is trained on;
///     0: any difference
/// @param continuation candidate with which a trajectory continues
/// @param reward scorer of the candidates' clean latents, decoded, as KIND:PATH
/// @param temperature divisor of the scores
public record TrajectoryRecipe(
        Path prompts,
        int promptsPerRollout,
        int steps,
        double eta,
        double guidanceScale,
        int candidates,
        int firstStep,
        OptionalInt comparedSteps,
        double minPreference,
        Continuation continuation,
        String reward,
        double temperature) {
    static final String KEY = "trajectory";

    /// Largest number of candidates, which numbers their noise.
    public static final int MAX_CANDIDATES = 64;

    /// The candidate with which a trajectory continues.
    public enum Continuation {
        /// The best one.
        WINNER,
        /// Any, with equal probability.
        RANDOM
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public TrajectoryRecipe {
        Check.atLeast(1, "prompts_per_rollout", promptsPerRollout);
        Check.atLeast(2, "steps", steps);
        Check.that(eta > 0 && eta <= 1, "eta", "a number above 0 up to 1, since candidates differ in noise", eta);
        Check.guidance(guidanceScale);
        Check.that(
                candidates >= 2 && candidates <= MAX_CANDIDATES,
                "candidates",
                "an integer from 2 to " + MAX_CANDIDATES,
                candidates);
        Check.that(
                firstStep >= 0 && firstStep < steps,
                "first_step",
                "an integer from 0 to " + (steps - 1) + ", since there are " + steps + " steps",
                firstStep);
        Check.that(
                comparedSteps.isEmpty()
                        || (comparedSteps.getAsInt() >= 1 && comparedSteps.getAsInt() <= steps - firstStep),
                "compared_steps",
                "auto or an integer from 1 to " + (steps - firstStep) + ", the steps from first_step on",
                comparedSteps.orElse(0));
        Check.belowOne("min_preference", minPreference);
        Check.that(!reward.isBlank(), "reward", "KIND:PATH of a reward model", "none");
        Check.positive("temperature", temperature);
    }

    static TrajectoryRecipe read(Section in) throws RecipeException {
        return in.build(() -> new TrajectoryRecipe(
                in.path("prompts"),
                in.small("prompts_per_rollout", 10),
                in.small("steps", 20),
                in.number("eta", 1),
                in.number("guidance_scale", 5),
                in.small("candidates"),
                in.small("first_step", 0),
                in.smallOrAuto("compared_steps", OptionalInt.empty()),
                in.number("min_preference", 0),
                in.choice("continuation", Continuation.class, Continuation.WINNER),
                in.text("reward", ""),
                in.number("temperature", 1)));
    }

    /// Reads the data of a recipe with trajectories, which has no other sections about stored pairs.
    static DataRecipe data(Section in) throws RecipeException {
        in.requireAbsent("labels", "trajectories rank their own candidates");
        in.requireAbsent("timesteps", "trajectories have the timesteps of their sampling steps");
        return DataRecipe.ofTrajectories(in.section("data"));
    }

    /// Checks that the sections of a recipe agree about where pairs come from.
    ///
    /// @param inverts whether there is an inversion
    static void check(
            Optional<TrajectoryRecipe> trajectory,
            Objective objective,
            boolean inverts,
            DataRecipe data,
            EvaluateRecipe evaluate) {
        String name = objective.name();
        boolean generates = objective.noise() == NoiseSource.GIVEN;
        Check.agreement(
                !generates || trajectory.isPresent(),
                KEY,
                name + " trains on candidates of the policy's own trajectories and none are configured; add a"
                        + " trajectory section with prompts, candidates and a reward, and remove data.paths");
        Check.agreement(
                generates || trajectory.isEmpty(),
                KEY,
                name + " trains on stored pairs; set trajectory to none, or objective.method to spo or tailorpo");
        Check.that(trajectory.isPresent() || !data.paths().isEmpty(), "data.paths", "at least one path", "none");
        Check.agreement(
                trajectory.isEmpty() || evaluate.every().isEmpty(),
                "evaluate.every",
                "trajectories have no pairs to hold out; set it to none (the log has the mean score of every rollout)");
        Check.agreement(
                !generates || !inverts,
                "inversion",
                name + " takes noised latents from its trajectories; set inversion to none");
    }
}
