package org.smpo.recipe;

/// The learning rate of every step, as diffusers' `get_scheduler` has it, but counted in optimizer steps
/// whatever the number of processes and micro-batches.
///
/// @param value the greatest, > 0
/// @param schedule how it moves
/// @param warmupSteps steps in which it rises in a straight line; the first of them, step 0, has a rate of 0
/// @param cycles of the cosine, > 0; ½ falls to 0 once
public record LearningRateRecipe(double value, Schedule schedule, long warmupSteps, double cycles) {
    /// How it moves after the warm-up.
    public enum Schedule {
        /// It does not, and there is no warm-up.
        CONSTANT,
        /// It does not.
        CONSTANT_WITH_WARMUP,
        /// In a straight line to 0 at the run's end.
        LINEAR,
        /// Down a cosine to the run's end.
        COSINE
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public LearningRateRecipe {
        Check.positive("value", value);
        Check.atLeast(0, "warmup_steps", warmupSteps);
        Check.agreement(
                schedule != Schedule.CONSTANT || warmupSteps == 0,
                "warmup_steps",
                "the schedule constant has no warm-up; set learning_rate.schedule to constant_with_warmup or this to 0");
        Check.positive("cycles", cycles);
    }

    static LearningRateRecipe read(Section in) throws RecipeException {
        return in.build(() -> new LearningRateRecipe(
                in.number("value"),
                in.choice("schedule", Schedule.class, Schedule.CONSTANT),
                in.integer("warmup_steps", 0),
                in.number("cycles", 0.5)));
    }

    /// The rate of one step of a run.
    ///
    /// @param step from 0
    /// @param steps of the whole run
    public double at(long step, long steps) {
        return value * factor(step, steps);
    }

    private double factor(long step, long steps) {
        if (schedule == Schedule.CONSTANT) {
            return 1;
        }
        if (step < warmupSteps) {
            return (double) step / warmupSteps;
        }
        double rest = Math.max(1, steps - warmupSteps);
        return switch (schedule) {
            case CONSTANT, CONSTANT_WITH_WARMUP -> 1;
            case LINEAR -> Math.max(0, (steps - step) / rest);
            case COSINE -> Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * ((step - warmupSteps) / rest))));
        };
    }
}
