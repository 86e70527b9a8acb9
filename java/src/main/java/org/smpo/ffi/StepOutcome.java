package org.smpo.ffi;

/// What one step of an optimizer did.
///
/// @param finite whether every gradient is finite, and so is their norm as an f32
/// @param applied whether weights and state have changed and gradients are zero; false where `finite` is
/// @param steps updates made, this one included
/// @param gradNorm Euclidean norm of all gradients as they were
/// @param clipCoefficient what gradients were multiplied by: `min(1, maxGradNorm / (gradNorm + 1e-6))`; 0 if not
///     applied
/// @param learningRate the given one, or that of Adafactor's relative step
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
