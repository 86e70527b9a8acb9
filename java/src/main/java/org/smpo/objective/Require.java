package org.smpo.objective;

/// Range checks with one form of message: `dmpo: alpha: expected a number in (0, 1), got 1.0`.
final class Require {
    private Require() {}

    static void positive(String owner, String name, double value) {
        if (!(value > 0) || value == Double.POSITIVE_INFINITY) {
            throw outside(owner, name, "a finite number > 0", value);
        }
    }

    /// What every loss with a logit of −κβΔ takes.
    static void strength(String owner, double beta, double kappa) {
        positive(owner, "beta", beta);
        positive(owner, "kappa", kappa);
    }

    static void nonNegative(String owner, String name, double value) {
        if (!(value >= 0) || value == Double.POSITIVE_INFINITY) {
            throw outside(owner, name, "a finite number >= 0", value);
        }
    }

    static void finite(String owner, String name, double value) {
        if (!Double.isFinite(value)) {
            throw outside(owner, name, "a finite number", value);
        }
    }

    /// Strictly between 0 and 1.
    static void openUnit(String owner, String name, double value) {
        if (!(value > 0 && value < 1)) {
            throw outside(owner, name, "a number in (0, 1)", value);
        }
    }

    /// Between 0 and 1, ends included.
    static void unit(String owner, String name, double value) {
        if (!(value >= 0 && value <= 1)) {
            throw outside(owner, name, "a number in [0, 1]", value);
        }
    }

    static InvalidParameterException outside(String owner, String name, String expected, double value) {
        return new InvalidParameterException(owner, name, "expected " + expected + ", got " + value);
    }
}
