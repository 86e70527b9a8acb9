package org.smpo.ffi;

/// The outcome of one optimizer step.
///
/// @param finite Whether every gradient is finite, and so is their norm as an F32
/// @param applied Whether weights and state have changed and gradients are zero; false if `finite` is
///     false
/// @param steps Number of updates made, including this one
/// @param gradNorm Euclidean norm of all gradients before clipping
/// @param clipCoefficient Factor applied to the gradients: `min(1, maxGradNorm / (gradNorm + 1e-6))`; 0
///     if not applied
/// @param learningRate Learning rate used: the given one, or that of Adafactor's relative step
public record StepOutcome(
        boolean finite, boolean applied, long steps, double gradNorm, double clipCoefficient, double learningRate) {

    static StepOutcome read(Struct outcome) {
        return new StepOutcome(
                outcome.getInt("finite") != 0,
                outcome.getInt("applied") != 0,
                outcome.getLong("steps"),
                outcome.getDouble("grad_norm"),
                outcome.getDouble("clip_coefficient"),
                outcome.getDouble("learning_rate"));
    }
}
