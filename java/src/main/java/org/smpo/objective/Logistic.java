package org.smpo.objective;

/// The logistic function and its relatives, accurate over the whole range of doubles.
///
/// No loss takes the logarithm of a sigmoid: that is −∞ once the sigmoid underflows (at −745), while
/// `-softplus(-u)` is exact there.
final class Logistic {
    private Logistic() {}

    /// 1 / (1 + e^−u), without overflow on either side.
    static double sigmoid(double u) {
        if (u >= 0) {
            return 1 / (1 + Math.exp(-u));
        }
        double e = Math.exp(u);
        return e / (1 + e);
    }

    /// log(1 + e^u), without overflow: u for large u, e^u for very negative u.
    static double softplus(double u) {
        return Math.max(u, 0) + Math.log1p(Math.exp(-Math.abs(u)));
    }
}
