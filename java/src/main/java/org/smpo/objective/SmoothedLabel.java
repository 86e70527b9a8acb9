package org.smpo.objective;

import java.util.Optional;

/// Turns two rewards into a smoothed preference label: p = σ((r'_w − r'_l) / T), r' = (s − min) / (max − min).
///
/// r' is not clamped, as published: scores outside [min, max] give a p beyond [1 − e/(1+e), e/(1+e)]. Scores of
/// another reward model or other data need their own range, [#ofRange]. A pair that people called a tie has no
/// label. Source: arXiv 2506.02698 and the authors' `train.py`, lines 723-747.
///
/// @param minimum the score that becomes r' = 0
/// @param maximum the score that becomes r' = 1, > minimum
/// @param temperature T > 0; 1 as published
/// @param winner source of the decision which image is the winner
public record SmoothedLabel(double minimum, double maximum, double temperature, WinnerBy winner) {
    /// Source of the decision which image is the winner.
    public enum WinnerBy {
        /// People; p is below ½ where the reward disagrees, and SmPO then pushes the other way.
        HUMAN,
        /// The higher score; image 1 when they are equal. Pairs on which reward and people disagree are
        /// flipped, as in the published method.
        REWARD;

        /// The winner of a pair that is no tie.
        ///
        /// @param byReward the image that the reward prefers
        /// @throws IllegalArgumentException when people decide and were not asked
        int decide(int byReward, HumanChoice people) {
            return switch (this) {
                case REWARD -> byReward;
                case HUMAN -> {
                    if (people == HumanChoice.UNKNOWN) {
                        throw new IllegalArgumentException(
                                "smoothed label: winner by people: expected a human choice, got none");
                    }
                    yield people.winner();
                }
            };
        }

        /// Whether people chose the other image.
        static boolean isFlipped(int winner, HumanChoice people) {
            return people != HumanChoice.UNKNOWN && winner != people.winner();
        }
    }

    /// The published range of PickScore v1's cosine (without logit scale) over Pick-a-Pic v2.
    public static final double PICKSCORE_MINIMUM = 0.11543526500463486;

    public static final double PICKSCORE_MAXIMUM = 0.28201571106910706;

    /// @throws IllegalArgumentException when the range is empty or not finite, or the temperature not > 0
    public SmoothedLabel {
        Require.finite("smoothed label", "minimum", minimum);
        Require.finite("smoothed label", "maximum", maximum);
        if (!(maximum > minimum)) {
            throw Require.outside("smoothed label", "maximum", "a number > minimum = " + minimum, maximum);
        }
        Require.positive("smoothed label", "range", maximum - minimum);
        Require.positive("smoothed label", "temperature", temperature);
        if (winner == null) {
            throw new IllegalArgumentException("smoothed label: winner: expected REWARD or HUMAN, got null");
        }
    }

    /// The published label: PickScore's range, T = 1, decided by the reward.
    public static SmoothedLabel pickScore() {
        return new SmoothedLabel(PICKSCORE_MINIMUM, PICKSCORE_MAXIMUM, 1, WinnerBy.REWARD);
    }

    /// The label with the range of the data.
    ///
    /// @param scores the scores of all images, at least two of them different
    /// @throws IllegalArgumentException when a score is not finite or all are equal
    public static SmoothedLabel ofRange(double[] scores, double temperature, WinnerBy winner) {
        double minimum = Double.POSITIVE_INFINITY;
        double maximum = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < scores.length; i++) {
            Require.finite("smoothed label", "score " + i, scores[i]);
            minimum = Math.min(minimum, scores[i]);
            maximum = Math.max(maximum, scores[i]);
        }
        if (!(maximum > minimum)) {
            throw new IllegalArgumentException("smoothed label: scores: expected at least two different ones, got "
                    + scores.length + " all equal");
        }
        return new SmoothedLabel(minimum, maximum, temperature, winner);
    }

    /// The normalized score r', not clamped.
    public double normalized(double score) {
        return (score - minimum) / (maximum - minimum);
    }

    /// The label of a pair from the reward model's scores; empty when people called it a tie.
    ///
    /// @throws IllegalArgumentException when a score is not finite, or people decide and were not asked
    public Optional<PairLabel> ofScores(double score0, double score1, HumanChoice people) {
        Require.finite("smoothed label", "score 0", score0);
        Require.finite("smoothed label", "score 1", score1);
        return label(score0, score1, normalized(score0) - normalized(score1), people);
    }

    /// The label of a pair from rewards that already are log-odds (of a Bradley-Terry model, say): the range is
    /// not used, p = σ((logit_w − logit_l) / T).
    ///
    /// @throws IllegalArgumentException when a logit is not finite, or people decide and were not asked
    public Optional<PairLabel> ofLogits(double logit0, double logit1, HumanChoice people) {
        Require.finite("smoothed label", "logit 0", logit0);
        Require.finite("smoothed label", "logit 1", logit1);
        return label(logit0, logit1, logit0 - logit1, people);
    }

    /// The label of a pair from votes or comparisons: p = (votes of the winner + prior) / (all votes + 2
    /// prior). The majority decides; equal counts are a tie and have no label.
    ///
    /// @param prior pseudo-votes for each side, ≥ 0; 0 takes the plain fraction
    /// @throws IllegalArgumentException when a count is negative, there are none, or the prior is not finite
    public static Optional<PairLabel> ofVotes(long votes0, long votes1, double prior) {
        Require.nonNegative("smoothed label", "prior", prior);
        if (votes0 < 0 || votes1 < 0 || (votes0 == 0 && votes1 == 0)) {
            throw new IllegalArgumentException("smoothed label: votes: expected counts >= 0 and at least one vote, got "
                    + votes0 + " and " + votes1);
        }
        if (votes0 == votes1) {
            return Optional.empty();
        }
        double most = Math.max(votes0, votes1);
        double all = (double) votes0 + votes1;
        return Optional.of(
                new PairLabel(votes0 > votes1 ? 0 : 1, (most + prior) / (all + 2 * prior), false, Double.NaN));
    }

    private Optional<PairLabel> label(double score0, double score1, double lead0, HumanChoice people) {
        if (people == HumanChoice.TIE) {
            return Optional.empty();
        }
        int chosen = winner.decide(score0 > score1 ? 0 : 1, people);
        double lead = chosen == 0 ? lead0 : -lead0;
        return Optional.of(new PairLabel(
                chosen,
                Logistic.sigmoid(lead / temperature),
                WinnerBy.isFlipped(chosen, people),
                chosen == 0 ? score0 - score1 : score1 - score0));
    }
}
