package org.smpo.objective;

import java.util.Set;

/// MaPO: reference-free. L = ℓ_w + b softplus(−z), z = T (φ(ℓ_w) − φ(ℓ_l)), φ(x) = s x / (e^{s x} − 1).
/// Source: arXiv 2406.06424 and the authors' `utils.py`.
///
/// @param scale s, the curvature of φ, > 0 (`snr_value` in the authors' code)
/// @param temperature T, > 0
/// @param weight b, the weight of the preference term, ≥ 0
public record Mapo(double scale, double temperature, double weight) implements Objective {
    /// @throws IllegalArgumentException when a parameter is out of its range
    public Mapo {
        Require.positive("mapo", "scale", scale);
        Require.positive("mapo", "temperature", temperature);
        Require.nonNegative("mapo", "weight", weight);
    }

    /// The published SDXL setting: s 0.5, T 1000, b 0.1.
    public static Mapo sdxl() {
        return new Mapo(0.5, 1000, 0.1);
    }

    /// y / (e^y − 1), with the value 1 at 0.
    static double phi(double y) {
        return y == 0 ? 1 : y / Math.expm1(y);
    }

    /// d/dy of [#phi], −½ at 0.
    ///
    /// The closed form loses digits to cancellation near 0 (its numerator is of order y²), so there the
    /// derivative of the Bernoulli series Σ B_n yⁿ/n! is summed; at |y| = 0.4 its first omitted term is below
    /// 1e-17.
    static double phiDerivative(double y) {
        if (Math.abs(y) < 0.4) {
            double q = y * y;
            double tail = 1.0 / 5_337_446_400.0; // Horner, from y¹³ down
            tail = tail * q - 691.0 / 108_972_864_000.0;
            tail = tail * q + 1.0 / 4_790_016;
            tail = tail * q - 1.0 / 151_200;
            tail = tail * q + 1.0 / 5_040;
            tail = tail * q - 1.0 / 180;
            tail = tail * q + 1.0 / 6;
            return tail * y - 0.5;
        }
        if (y > 0) {
            // In e^−y, which cannot overflow.
            double e = Math.exp(-y);
            double oneMinusE = -Math.expm1(-y);
            return e * (oneMinusE - y) / (oneMinusE * oneMinusE);
        }
        double e = Math.exp(y);
        double eMinusOne = Math.expm1(y);
        return (eMinusOne - y * e) / (eMinusOne * eMinusOne);
    }

    @Override
    public String name() {
        return "mapo";
    }

    @Override
    public double strength() {
        return 0;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        double winner = scale * pair.errors().winner();
        double loser = scale * pair.errors().loser();
        double z = temperature * (phi(winner) - phi(loser));
        double slope = weight * temperature * scale * Logistic.sigmoid(-z);
        return new PairLoss(
                pair.errors().winner() + weight * Logistic.softplus(-z),
                z,
                1 - slope * phiDerivative(winner),
                slope * phiDerivative(loser));
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.mapo(scale, temperature, weight);
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_SHARED;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of();
    }

    @Override
    public boolean needsReference() {
        return false;
    }
}
