package org.smpo.data;

import java.util.Optional;

/// A reward model's scores by pair.
@FunctionalInterface
public interface ScoreTable {
    /// The scores of the pair at this place of the source, if there are any.
    Optional<PairScores> scores(int pair);

    /// No scores.
    static ScoreTable none() {
        return pair -> Optional.empty();
    }

    /// Those that the data itself has.
    static ScoreTable of(PairLabels labels) {
        return labels::scores;
    }

    /// Scores by place; NaN in either array where there are none.
    ///
    /// @throws IllegalArgumentException when the arrays are not equally long
    static ScoreTable of(double[] score0, double[] score1) {
        if (score0.length != score1.length) {
            throw new IllegalArgumentException("scores: expected as many of image 0 as of image 1, got " + score0.length
                    + " and " + score1.length);
        }
        double[] first = score0.clone();
        double[] second = score1.clone();
        return pair -> pair >= first.length || Double.isNaN(first[pair]) || Double.isNaN(second[pair])
                ? Optional.empty()
                : Optional.of(new PairScores(first[pair], second[pair]));
    }
}
