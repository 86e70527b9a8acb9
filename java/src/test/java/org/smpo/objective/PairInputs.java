package org.smpo.objective;

/// Inputs of an [Objective] for one pair: the errors, and the inputs that [Objective#inputs] names.
/// Other inputs are not read; a missing named input is an error.
///
/// @param errors the four mean squared errors
/// @param label p in [0, 1], or NaN when absent
/// @param rewardMargin calibrated reward of the winner minus the loser's, or NaN when absent
/// @param logitScale factor ≥ 0 on beta for this pair, such as a weight of its timestep; 1 as a rule
/// @param meanGain the batch's mean gain (in mean-error units), or NaN when absent
record PairInputs(PairErrors errors, double label, double rewardMargin, double logitScale, double meanGain) {
    /// @throws IllegalArgumentException when a given value is out of its range
    PairInputs {
        if (errors == null) {
            throw new IllegalArgumentException("pair inputs: errors: expected a value, got null");
        }
        if (!Double.isNaN(label)) {
            Require.unit("pair inputs", "label", label);
        }
        if (!Double.isNaN(rewardMargin)) {
            Require.finite("pair inputs", "reward margin", rewardMargin);
        }
        Require.nonNegative("pair inputs", "logit scale", logitScale);
        if (!Double.isNaN(meanGain)) {
            Require.nonNegative("pair inputs", "mean gain", meanGain);
        }
    }

    /// Returns inputs with the errors alone, at logit scale 1.
    static PairInputs of(PairErrors errors) {
        return new PairInputs(errors, Double.NaN, Double.NaN, 1, Double.NaN);
    }

    PairInputs withLabel(double p) {
        return new PairInputs(errors, p, rewardMargin, logitScale, meanGain);
    }

    PairInputs withRewardMargin(double margin) {
        return new PairInputs(errors, label, margin, logitScale, meanGain);
    }

    PairInputs withLogitScale(double scale) {
        return new PairInputs(errors, label, rewardMargin, scale, meanGain);
    }

    PairInputs withMeanGain(double gain) {
        return new PairInputs(errors, label, rewardMargin, logitScale, gain);
    }

    /// Returns the value of the named input.
    ///
    /// @throws IllegalArgumentException when it is absent; names the objective and the input
    double require(Objective objective, PairInput input) {
        double value = switch (input) {
            case LABEL -> label;
            case REWARD_MARGIN -> rewardMargin;
            case MEAN_GAIN -> meanGain;
        };
        if (Double.isNaN(value)) {
            throw new IllegalArgumentException(objective.name() + ": "
                    + input.name().toLowerCase(java.util.Locale.ROOT).replace('_', ' ')
                    + ": expected a value, got none");
        }
        return value;
    }
}
