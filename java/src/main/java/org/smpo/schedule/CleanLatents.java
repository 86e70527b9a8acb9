package org.smpo.schedule;

/// The clean latents that a prediction implies, as coefficients: x̂0 = sample · x + output · out, for
/// latents x at the level of a timestep and the network's output for them.
///
/// @param sample coefficient of the latents
/// @param output coefficient of the output
public record CleanLatents(double sample, double output) {
    /// The coefficients at the level of a training timestep.
    ///
    /// @throws IllegalArgumentException when the latents of the level are pure noise, from which an
    ///     output of type epsilon gives no clean latents
    public static CleanLatents of(NoiseSchedule schedule, int timestep) {
        double signal = Math.sqrt(schedule.alphaCumprod(timestep));
        double noise = Math.sqrt(1 - schedule.alphaCumprod(timestep));
        return switch (schedule.predictionType()) {
            case EPSILON -> {
                if (signal == 0) {
                    throw new IllegalArgumentException("timestep " + timestep
                            + ": expected a level with some signal for a prediction of noise, found pure noise");
                }
                yield new CleanLatents(1 / signal, -noise / signal);
            }
            case V_PREDICTION -> new CleanLatents(signal, -noise);
            case SAMPLE -> new CleanLatents(0, 1);
        };
    }
}
