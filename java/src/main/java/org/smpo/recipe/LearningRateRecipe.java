package org.smpo.recipe;

/// Learning rate schedule as in diffusers' `get_scheduler`, but counted in optimizer steps, regardless of
/// processes and micro-batches.
///
/// @param value largest learning rate, > 0
/// @param schedule shape of the schedule
/// @param warmupSteps number of steps with a linear rise; the first, step 0, has a rate of 0
/// @param cycles number of cycles of the cosine, > 0; ½ falls to 0 once
public record LearningRateRecipe(double value, Schedule schedule, long warmupSteps, double cycles) {
    /// Shape after the warm-up.
    public enum Schedule {
        /// Constant, without warm-up.
        CONSTANT,
        /// Constant after the warm-up.
        CONSTANT_WITH_WARMUP,
        /// Linear decay to 0 at the end of the run.
        LINEAR,
        /// Cosine decay to the end of the run.
        COSINE
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public LearningRateRecipe {
        Check.positive("value", value);
        Check.atLeast(0, "warmup_steps", warmupSteps);
        Check.agreement(
                schedule != Schedule.CONSTANT || warmupSteps == 0,
                "warmup_steps",
                "the schedule constant has no warm-up; set learning_rate.schedule to constant_with_warmup or this to"
                        + " 0");
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
    /// @param step index of the step, from 0
    /// @param steps number of steps of the whole run
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
