package org.smpo.data;

import java.util.Optional;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairLabel;
import org.smpo.objective.SmoothedLabel;

/// Decides which image of a pair is the winner and with what probability, from the choice of people and from
/// scores.
///
/// A tie has no winner, nor has a pair without the choice or scores that decide.
public final class Labeler {
    private final SmoothedLabel smoothing;
    private final boolean reversed;

    private Labeler(SmoothedLabel smoothing, boolean reversed) {
        this.smoothing = smoothing;
        this.reversed = reversed;
    }

    /// A labeler by the choice of people, with probability 1.
    public static Labeler ofPeople() {
        return new Labeler(null, false);
    }

    /// A labeler whose probabilities come from scores; the rule tells whether scores or people decide the
    /// winner.
    public static Labeler smoothed(SmoothedLabel rule) {
        return new Labeler(rule, false);
    }

    /// This labeler, or the one that exchanges winner and loser of each of its labels.
    public Labeler reversedIf(boolean exchange) {
        return exchange ? new Labeler(smoothing, !reversed) : this;
    }

    /// The label of a pair, or empty when it cannot be trained on.
    ///
    /// @throws IllegalArgumentException when a score is not finite
    public Optional<PairLabel> label(HumanChoice people, Optional<PairScores> scores) {
        Optional<PairLabel> label = decided(people, scores);
        return reversed ? label.map(PairLabel::reversed) : label;
    }

    private Optional<PairLabel> decided(HumanChoice people, Optional<PairScores> scores) {
        boolean asked = people == HumanChoice.IMAGE_0 || people == HumanChoice.IMAGE_1;
        if (smoothing == null) {
            return asked
                    ? Optional.of(new PairLabel(people == HumanChoice.IMAGE_0 ? 0 : 1, 1, false))
                    : Optional.empty();
        }
        boolean undecided = smoothing.winner() == SmoothedLabel.WinnerBy.HUMAN && !asked;
        if (scores.isEmpty() || undecided) {
            return Optional.empty();
        }
        PairScores given = scores.get();
        return smoothing.ofScores(given.score0(), given.score1(), people);
    }
}
