package org.smpo.ffi;

import java.util.Objects;

/// How weights are updated.
///
/// @param rule the update rule with its own numbers
/// @param emaDecay in [0, 1): after every update `ema += (1 - emaDecay) (weight - ema)`; 0 keeps no EMA
public record OptimizerOptions(Rule rule, double emaDecay) {

    /// The rule may not be null; the library checks the numbers.
    public OptimizerOptions {
        Objects.requireNonNull(rule, "rule");
    }

    /// An update rule.
    public sealed interface Rule permits AdamW, Adafactor {}

    /// `torch.optim.AdamW` (arXiv 1711.05101).
    ///
    /// @param beta1 in [0, 1): of the first moment
    /// @param beta2 in [0, 1): of the second moment
    /// @param eps above 0: beside the root of the second moment
    /// @param weightDecay 0 or more, decoupled: times the learning rate
    public record AdamW(double beta1, double beta2, double eps, double weightDecay) implements Rule {

        /// torch's defaults.
        public static AdamW standard() {
            return new AdamW(0.9, 0.999, 1e-8, 1e-2);
        }
    }

    /// `transformers.optimization.Adafactor` (arXiv 1804.04235).
    ///
    /// @param beta1 in [0, 1): of the first moment; 0 keeps none
    /// @param eps above 0: added to the square of a gradient, `eps[0]` there
    /// @param parameterEps above 0: least root mean square of a parameter for `scaleParameter`, `eps[1]` there
    /// @param clipThreshold above 0: largest root mean square of a parameter's update before the learning rate
    /// @param decayRate below 0: the second moment keeps `1 - step^decayRate`
    /// @param weightDecay 0 or more, decoupled: times the learning rate
    /// @param scaleParameter whether the learning rate is times the parameter's root mean square
    /// @param relativeStep whether the learning rate is `min(1e-2, step^-0.5)`; that of every step is 0 then
    /// @param warmupInit with `relativeStep` only: whether it is `min(1e-6 step, step^-0.5)`
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

        /// transformers' defaults, which compute the learning rate themselves.
        public static Adafactor standard() {
            return new Adafactor(0, 1e-30, 1e-3, 1, -0.8, 0, true, true, false);
        }

        /// With a learning rate that is given, as fine-tuning does it: no relative step, nothing scaled.
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
