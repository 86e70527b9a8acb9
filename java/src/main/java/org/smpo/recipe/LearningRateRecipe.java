package org.smpo.recipe;

import java.util.Map;

/// Learning rate schedule as in diffusers' `get_scheduler`, but counted in optimizer steps, regardless of
/// processes and micro-batches.
///
/// @param value largest learning rate, > 0
/// @param schedule shape of the schedule
/// @param warmupSteps number of steps with a linear rise; the first, step 0, has a rate of 0
/// @param cycles number of cycles of the cosine, > 0; ½ falls to 0 once, and with restarts 1 does
/// @param power exponent of the polynomial, > 0; written only for that schedule, so that recipes from before this
///     key keep their text
/// @param end rate at the end of the polynomial, from 0 to below the value; written like the power
public record LearningRateRecipe(
        double value, Schedule schedule, long warmupSteps, double cycles, double power, double end) implements Written {
    private static final String POWER = "power";
    private static final String END = "end";

    /// Shape after the warm-up.
    public enum Schedule {
        /// Constant, without warm-up.
        CONSTANT,
        /// Constant after the warm-up.
        CONSTANT_WITH_WARMUP,
        /// Linear decay to 0 at the end of the run.
        LINEAR,
        /// Cosine decay to the end of the run.
        COSINE,
        /// Cosine decay to 0, again from the full rate in each cycle.
        COSINE_WITH_RESTARTS,
        /// Decay by a power of the remaining share of the run.
        POLYNOMIAL;

        /// Whether the rate of a step depends on the length of the run.
        public boolean dependsOnLength() {
            return switch (this) {
                case CONSTANT, CONSTANT_WITH_WARMUP -> false;
                case LINEAR, COSINE, COSINE_WITH_RESTARTS, POLYNOMIAL -> true;
            };
        }
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
        Check.positive(POWER, power);
        Check.that(
                schedule != Schedule.POLYNOMIAL || (end >= 0 && end < value),
                END,
                "a number from 0 to below learning_rate.value (" + value + ")",
                end);
    }

    static LearningRateRecipe read(Section in) throws RecipeException {
        return in.build(() -> {
            double value = in.number("value");
            Schedule schedule = in.choice("schedule", Schedule.class, Schedule.CONSTANT);
            return new LearningRateRecipe(
                    value,
                    schedule,
                    in.integer("warmup_steps", 0),
                    in.number("cycles", schedule == Schedule.COSINE_WITH_RESTARTS ? 1 : 0.5),
                    in.number(POWER, 1),
                    in.number(END, 1e-7));
        });
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (schedule != Schedule.POLYNOMIAL) {
            fields.remove(POWER);
            fields.remove(END);
        }
        return fields;
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
            case COSINE_WITH_RESTARTS -> restarting((step - warmupSteps) / rest);
            case POLYNOMIAL -> polynomial(step, steps);
            case COSINE -> Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * ((step - warmupSteps) / rest))));
        };
    }

    private double restarting(double progress) {
        return progress >= 1 ? 0 : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * (cycles * progress % 1))));
    }

    private double polynomial(long step, long steps) {
        if (step > steps) {
            return end / value;
        }
        double remaining = 1 - (double) (step - warmupSteps) / (steps - warmupSteps);
        return ((value - end) * Math.pow(remaining, power) + end) / value;
    }
}
