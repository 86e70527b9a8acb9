package org.smpo.recipe;

import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/// Optimizer: the rule that turns gradients into updates. The learning rate is [LearningRateRecipe]'s.
public sealed interface OptimizerRecipe extends Written {
    String KIND = "name";

    /// Adam with decoupled weight decay, as PyTorch's `AdamW`.
    ///
    /// @param beta1 decay of the first moment, from 0 to below 1
    /// @param beta2 decay of the second moment, from 0 to below 1
    /// @param eps added to the denominator, 0 or more
    /// @param weightDecay 0 or more
    record AdamW(double beta1, double beta2, double eps, double weightDecay) implements OptimizerRecipe {
        public AdamW {
            Check.belowOne("beta1", beta1);
            Check.belowOne("beta2", beta2);
            Check.notNegative("eps", eps);
            Check.notNegative("weight_decay", weightDecay);
        }

        @Override
        public Object written() {
            return ResolvedText.kind(KIND, "adamw", this);
        }
    }

    /// Adafactor with the options of transformers' `Adafactor`, by the same names.
    ///
    /// @param eps1 added to squared gradients (`eps[0]`), 0 or more
    /// @param eps2 smallest scale of a parameter (`eps[1]`), 0 or more
    /// @param clipThreshold root mean square of an update above which it is scaled down, > 0
    /// @param decayRate exponent of the second moment's decay, below 0
    /// @param beta1 decay of the first moment, from 0 to below 1; absent: no first moment
    /// @param weightDecay 0 or more
    /// @param scaleParameter whether the learning rate is multiplied by the parameter's root mean square
    /// @param relativeStep whether the learning rate is a function of the step alone; there is then no
    ///     `learning_rate`
    /// @param warmupInit whether that function begins small; needs `relative_step`
    record Adafactor(
            double eps1,
            double eps2,
            double clipThreshold,
            double decayRate,
            OptionalDouble beta1,
            double weightDecay,
            boolean scaleParameter,
            boolean relativeStep,
            boolean warmupInit)
            implements OptimizerRecipe {
        public Adafactor {
            Check.notNegative("eps1", eps1);
            Check.notNegative("eps2", eps2);
            Check.positive("clip_threshold", clipThreshold);
            Check.that(
                    decayRate < 0 && decayRate > Double.NEGATIVE_INFINITY,
                    "decay_rate",
                    "a number below 0, such as -0.8",
                    decayRate);
            beta1.ifPresent(decay -> Check.belowOne("beta1", decay));
            Check.notNegative("weight_decay", weightDecay);
            Check.agreement(
                    relativeStep || !warmupInit,
                    "warmup_init",
                    "it shapes relative_step's learning rate; set optimizer.relative_step to true or this to false");
        }

        @Override
        public Object written() {
            return ResolvedText.kind(KIND, "adafactor", this);
        }
    }

    static OptimizerRecipe read(Section in) throws RecipeException {
        return in.build(() -> switch (in.kind(KIND, List.of("adamw", "adafactor"), Optional.of("adamw"))) {
            case "adafactor" ->
                new Adafactor(
                        in.number("eps1", 1e-30),
                        in.number("eps2", 1e-3),
                        in.number("clip_threshold", 1),
                        in.number("decay_rate", -0.8),
                        in.numberOrNone("beta1", OptionalDouble.empty()),
                        in.number("weight_decay", 0),
                        in.flag("scale_parameter", false),
                        in.flag("relative_step", false),
                        in.flag("warmup_init", false));
            default ->
                new AdamW(
                        in.number("beta1", 0.9),
                        in.number("beta2", 0.999),
                        in.number("eps", 1e-8),
                        in.number("weight_decay", 1e-2));
        });
    }
}
