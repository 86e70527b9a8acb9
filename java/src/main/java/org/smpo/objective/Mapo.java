package org.smpo.objective;

/// MaPO: reference-free. Published for SDXL: s 0.5 (`snr_value` in the authors' `utils.py`), T
/// 1000, b 0.1.
@MethodInfo(
        kind = 8,
        title = "MaPO",
        arxiv = "2406.06424",
        loss = "ℓ_w + b softplus(−T(φ(ℓ_w) − φ(ℓ_l))), φ(x) = sx / (e^{sx} − 1)")
public record Mapo(
        @ParameterInfo(value = "Curvature s of φ", byDefault = 0.5)
        double scale,

        @ParameterInfo(value = "Temperature T", byDefault = 1000)
        double temperature,

        @ParameterInfo(value = "Weight b of the preference term", byDefault = 0.1)
        double weight)
        implements Objective {
    public Mapo {
        Require.positive("mapo", "scale", scale);
        Require.positive("mapo", "temperature", temperature);
        Require.nonNegative("mapo", "weight", weight);
    }

    @Override
    public double strength() {
        return 0;
    }

    @Override
    public double[] parameters() {
        return new double[] {scale, temperature, weight};
    }

    @Override
    public boolean needsReference() {
        return false;
    }
}
