package org.smpo.objective;

/// The best and the worst of several candidates by their scores. Of equal scores, the first is taken.
///
/// @param best index of the candidate with the highest score
/// @param worst index of the candidate with the lowest score
/// @param difference difference of the two scores, 0 or more
public record BestWorst(int best, int worst, double difference) {
    /// Ranks candidates.
    ///
    /// @param scores finite scores, at least one
    public static BestWorst of(double... scores) {
        int best = 0;
        int worst = 0;
        for (int i = 1; i < scores.length; i++) {
            best = scores[i] > scores[best] ? i : best;
            worst = scores[i] < scores[worst] ? i : worst;
        }
        return new BestWorst(best, worst, scores[best] - scores[worst]);
    }

    /// How much the best is preferred, 2 σ(difference / temperature) − 1, from 0 for equal scores to 1.
    ///
    /// @param temperature divisor of the scores that makes them logits
    public double preference(double temperature) {
        return 2 * Logistic.sigmoid(difference / temperature) - 1;
    }
}
