package org.smpo.data;

import java.util.Optional;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairLabel;
import org.smpo.objective.SmoothedLabel;

/// Says which image of a pair is the winner and how surely, from what people said and from scores.
///
/// A tie has no winner; nor has a pair of which the deciding word is missing.
public final class Labeler {
    private final SmoothedLabel smoothing;

    private Labeler(SmoothedLabel smoothing) {
        this.smoothing = smoothing;
    }

    /// People decide, and are sure: p = 1.
    public static Labeler ofPeople() {
        return new Labeler(null);
    }

    /// Scores give p; the rule says whether they or people decide.
    public static Labeler smoothed(SmoothedLabel rule) {
        return new Labeler(rule);
    }

    /// The label of a pair, or empty when it cannot be trained on.
    ///
    /// @throws IllegalArgumentException when a score is not finite
    public Optional<PairLabel> label(HumanChoice people, Optional<PairScores> scores) {
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
