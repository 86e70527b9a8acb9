package org.smpo.schedule;

/// Noise level at which a sampler in sigma space ends, by diffusers' `final_sigmas_type`.
public enum FinalSigma {
    /// No noise.
    ZERO("zero"),
    /// The level of training timestep 0.
    SIGMA_MIN("sigma_min");

    private final String configName;

    FinalSigma(String configName) {
        this.configName = configName;
    }

    /// The name in a `scheduler_config.json`.
    public String configName() {
        return configName;
    }
}
