package org.smpo.schedule;

/// Quantity that the UNet predicts, by diffusers' `prediction_type`.
public enum PredictionType {
    /// The noise: `x = sqrt(a) x0 + sqrt(1 - a) epsilon`.
    EPSILON("epsilon"),
    /// The velocity: `v = sqrt(a) epsilon - sqrt(1 - a) x0` (Salimans and Ho, 2022).
    V_PREDICTION("v_prediction"),
    /// The clean latent `x0` itself.
    SAMPLE("sample");

    private final String configName;

    PredictionType(String configName) {
        this.configName = configName;
    }

    /// The name in a `scheduler_config.json`.
    public String configName() {
        return configName;
    }
}
