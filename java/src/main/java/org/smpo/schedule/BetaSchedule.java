package org.smpo.schedule;

/// Interpolation of the betas from `beta_start` to `beta_end`, by diffusers' `beta_schedule`.
public enum BetaSchedule {
    /// Equal steps of beta.
    LINEAR("linear"),
    /// Equal steps of the square root of beta, as in Stable Diffusion.
    SCALED_LINEAR("scaled_linear"),
    /// `beta_i = min(1 - f((i + 1) / n) / f(i / n), 0.999)` with `f(u) = cos^2((u + 0.008) / 1.008 * pi / 2)`.
    SQUAREDCOS_CAP_V2("squaredcos_cap_v2");

    private final String configName;

    BetaSchedule(String configName) {
        this.configName = configName;
    }

    /// The name in a `scheduler_config.json`.
    public String configName() {
        return configName;
    }

    /// The betas in double precision; the caller owns the array.
    double[] betas(double start, double end, int count) {
        double[] betas = new double[count];
        switch (this) {
            case LINEAR -> fillEvenly(betas, start, end);
            case SCALED_LINEAR -> {
                fillEvenly(betas, Math.sqrt(start), Math.sqrt(end));
                for (int i = 0; i < count; i++) {
                    betas[i] *= betas[i];
                }
            }
            case SQUAREDCOS_CAP_V2 -> {
                for (int i = 0; i < count; i++) {
                    double here = cosineAlphaBar((double) i / count);
                    double next = cosineAlphaBar((i + 1.0) / count);
                    betas[i] = Math.min(1 - next / here, 0.999);
                }
            }
        }
        return betas;
    }

    private static void fillEvenly(double[] values, double first, double last) {
        int intervals = Math.max(values.length - 1, 1);
        for (int i = 0; i < values.length; i++) {
            // From the nearer end, so that both ends are exact.
            values[i] = i < values.length / 2 || values.length == 1
                    ? first + i * ((last - first) / intervals)
                    : last - (intervals - i) * ((last - first) / intervals);
        }
    }

    private static double cosineAlphaBar(double u) {
        double cosine = Math.cos((u + 0.008) / 1.008 * Math.PI / 2);
        return cosine * cosine;
    }
}
