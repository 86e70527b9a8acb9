package org.smpo.recipe;

import java.nio.file.Path;
import java.util.Map;
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
/// @param lastSteps whether the last two steps are compared. Their log ratios have other scales than
///     those of the steps before: that of the second to last is the largest by far. Written only when
///     skipped
/// @param minPreference smallest preference 2 σ(difference of scores) − 1 of a pair that is trained on;
///     0: any difference
/// @param continuation candidate with which a trajectory continues
/// @param reward scorer of the candidates' clean latents, decoded, as KIND:PATH
/// @param temperature divisor of the scores
/// @param guide moves of winners along the reward's gradient (TailorPO-G). Written only when present
public record TrajectoryRecipe(
        Path prompts,
        int promptsPerRollout,
        int steps,
        double eta,
        double guidanceScale,
        int candidates,
        int firstStep,
        OptionalInt comparedSteps,
        LastSteps lastSteps,
        MinPreference minPreference,
        Continuation continuation,
        String reward,
        double temperature,
        Optional<GuideRecipe> guide)
        implements Written {
    private static final String LAST_STEPS = "last_steps";
    private static final String GUIDE = "guide";

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

    /// What is done at the last two steps.
    public enum LastSteps {
        /// Candidates are compared, as at any other.
        COMPARE,
        /// One plain step each.
        SKIP
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
        int end = endOfCompared(steps, lastSteps);
        Check.that(
                firstStep >= 0 && firstStep < end,
                "first_step",
                "an integer from 0 to " + (end - 1) + ", since there are " + steps + " steps"
                        + (end < steps ? " and the last two are skipped" : ""),
                firstStep);
        Check.that(
                comparedSteps.isEmpty()
                        || (comparedSteps.getAsInt() >= 1 && comparedSteps.getAsInt() <= end - firstStep),
                "compared_steps",
                "auto or an integer from 1 to " + (end - firstStep) + ", the steps from first_step on",
                comparedSteps.orElse(0));
        int compared = comparedSteps.orElse(end - firstStep);
        guide.flatMap(moves ->
                        moves.rows().isPresent() ? Optional.of(moves.rows().getAsInt()) : Optional.empty())
                .ifPresent(rows -> Check.that(
                        rows <= compared,
                        "guide.rows",
                        "auto or an integer from 1 to " + compared + ", the compared steps of a rollout",
                        rows));
        Check.belowOne("min_preference", minPreference.clean());
        Check.belowOne("min_preference", minPreference.noisy());
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
                in.choice(LAST_STEPS, LastSteps.class, LastSteps.COMPARE),
                MinPreference.read(in),
                in.choice("continuation", Continuation.class, Continuation.WINNER),
                in.text("reward", ""),
                in.number("temperature", 1),
                guide(in)));
    }

    private static Optional<GuideRecipe> guide(Section in) throws RecipeException {
        Optional<Section> guide = in.sectionOrNone(GUIDE);
        return guide.isEmpty() ? Optional.empty() : Optional.of(GuideRecipe.read(guide.get()));
    }

    private static int endOfCompared(int steps, LastSteps lastSteps) {
        return lastSteps == LastSteps.SKIP ? Math.max(0, steps - 2) : steps;
    }

    /// The step after the last one that may be compared.
    public int endOfCompared() {
        return endOfCompared(steps, lastSteps);
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (lastSteps == LastSteps.COMPARE) {
            fields.remove(LAST_STEPS);
        }
        if (guide.isEmpty()) {
            fields.remove(GUIDE);
        }
        return fields;
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
