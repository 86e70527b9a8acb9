package org.smpo.schedule;

/// A DDIM step between two noise levels as a linear map: `x' = a x + b out`, where `out` is the UNet's
/// prediction for `x` at the first level. Song et al., "Denoising diffusion implicit models", formula 12; the
/// same map runs in both directions.
record LevelChange(double a, double b) {

    /// The step without fresh noise between two shares of signal power.
    static LevelChange of(double from, double to, PredictionType type) {
        return switch (type) {
            case EPSILON -> {
                requireSignal(from, type);
                // sqrt(1 - to) - a sqrt(1 - from) without its cancellation: formula 9 of Liu et al., "Pseudo numerical
                // methods for diffusion models on manifolds".
                double denominator = from * Math.sqrt(1 - to) + Math.sqrt(from * (1 - from) * to);
                yield new LevelChange(Math.sqrt(to / from), (from - to) / denominator);
            }
            case V_PREDICTION, SAMPLE -> of(from, to, Math.sqrt(1 - to), type);
        };
    }

    /// With the predicted noise weighted by `direction` instead of `sqrt(1 - to)`, which leaves room for fresh
    /// noise.
    static LevelChange of(double from, double to, double direction, PredictionType type) {
        double signal = Math.sqrt(from);
        double noise = Math.sqrt(1 - from);
        return switch (type) {
            case EPSILON -> {
                requireSignal(from, type);
                double a = Math.sqrt(to) / signal;
                yield new LevelChange(a, direction - a * noise);
            }
            case V_PREDICTION ->
                new LevelChange(Math.sqrt(to) * signal + direction * noise, direction * signal - Math.sqrt(to) * noise);
            case SAMPLE -> {
                if (from == 1) {
                    throw new IllegalArgumentException("prediction_type sample: no noise can be read from latents at "
                            + "level 1; use set_alpha_to_one false");
                }
                double a = direction / noise;
                yield new LevelChange(a, Math.sqrt(to) - a * signal);
            }
        };
    }

    private static void requireSignal(double from, PredictionType type) {
        if (from == 0) {
            throw new IllegalArgumentException(
                    "prediction_type " + type.configName() + ": a step from pure noise (zero "
                            + "terminal SNR) is undefined; such a model predicts v_prediction");
        }
    }
}
