package org.smpo.ffi;

import java.util.Objects;

/// Options of an optimizer.
///
/// @param rule Update rule with its hyperparameters
/// @param emaDecay Decay of the EMA, in [0, 1), where 0 keeps no EMA. Every update does
///     `ema += (1 - emaDecay) (weight - ema)`
public record OptimizerOptions(Rule rule, double emaDecay) {

    /// Requires a rule; the library checks the numbers.
    public OptimizerOptions {
        Objects.requireNonNull(rule, "rule");
    }

    /// An update rule with its hyperparameters.
    public sealed interface Rule permits AdamW, Adafactor {}

    /// `torch.optim.AdamW` (arXiv 1711.05101).
    ///
    /// @param beta1 Decay of the first moment, in [0, 1)
    /// @param beta2 Decay of the second moment, in [0, 1)
    /// @param eps Number added to the root of the second moment, above 0
    /// @param weightDecay Decoupled weight decay, multiplied by the learning rate, 0 or more
    public record AdamW(double beta1, double beta2, double eps, double weightDecay) implements Rule {

        /// Returns torch's defaults.
        public static AdamW standard() {
            return new AdamW(0.9, 0.999, 1e-8, 1e-2);
        }
    }

    /// `transformers.optimization.Adafactor` (arXiv 1804.04235).
    ///
    /// @param beta1 Decay of the first moment, in [0, 1); 0 keeps no first moment
    /// @param eps Number added to the square of a gradient, above 0; `eps[0]` in transformers
    /// @param parameterEps Least root mean square of a parameter for `scaleParameter`, above 0; `eps[1]`
    ///     in transformers
    /// @param clipThreshold Largest root mean square of a parameter's update before the learning rate,
    ///     above 0
    /// @param decayRate Exponent below 0: the second moment's decay is `1 - step^decayRate`
    /// @param weightDecay Decoupled weight decay, multiplied by the learning rate, 0 or more
    /// @param scaleParameter Whether the learning rate is multiplied by the parameter's root mean square
    /// @param relativeStep Whether the learning rate is `min(1e-2, step^-0.5)`; every step must then be
    ///     given 0
    /// @param warmupInit Whether the learning rate is `min(1e-6 step, step^-0.5)`; only with
    ///     `relativeStep`
    public record Adafactor(
            double beta1,
            double eps,
            double parameterEps,
            double clipThreshold,
            double decayRate,
            double weightDecay,
            boolean scaleParameter,
            boolean relativeStep,
            boolean warmupInit)
            implements Rule {

        /// Returns transformers' defaults, which compute the learning rate themselves.
        public static Adafactor standard() {
            return new Adafactor(0, 1e-30, 1e-3, 1, -0.8, 0, true, true, false);
        }

        /// Returns options for a given learning rate, as in fine-tuning: no relative step and no
        /// scaling.
        public static Adafactor withLearningRate() {
            return new Adafactor(0, 1e-30, 1e-3, 1, -0.8, 0, false, false, false);
        }
    }

    void write(Struct options) {
        options.set("ema_decay", emaDecay);
        switch (rule) {
            case AdamW adamw -> {
                options.set("kind", Native.OPTIMIZER_ADAMW);
                options.set("beta1", adamw.beta1());
                options.set("beta2", adamw.beta2());
                options.set("eps", adamw.eps());
                options.set("weight_decay", adamw.weightDecay());
            }
            case Adafactor adafactor -> {
                options.set("kind", Native.OPTIMIZER_ADAFACTOR);
                options.set("beta1", adafactor.beta1());
                options.set("eps", adafactor.eps());
                options.set("weight_decay", adafactor.weightDecay());
                options.set("parameter_eps", adafactor.parameterEps());
                options.set("clip_threshold", adafactor.clipThreshold());
                options.set("decay_rate", adafactor.decayRate());
                options.set("scale_parameter", adafactor.scaleParameter() ? 1 : 0);
                options.set("relative_step", adafactor.relativeStep() ? 1 : 0);
                options.set("warmup_init", adafactor.warmupInit() ? 1 : 0);
            }
        }
    }
}
