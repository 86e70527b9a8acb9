package org.smpo.objective;

/// The logistic function and its relatives, accurate over the whole range of doubles.
///
/// No loss in this package takes the logarithm of a sigmoid: that is −∞ once the sigmoid underflows (at −745),
/// while `-softplus(-u)` is exact there.
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

    /// softplus(−u), the negative log-likelihood of the preference, with its gradients in the winner's and
    /// loser's error, for a logit that is `slope` times
    /// −((ℓ_w − ℓ_l) − (r_w − r_l)).
    static PairLoss preferWinner(double logit, double slope) {
        double gradient = slope * sigmoid(-logit);
        // 0 - g and not -g: an undecided pair has the gradient 0, not -0.
        return new PairLoss(softplus(-logit), logit, gradient, 0 - gradient);
    }
}
