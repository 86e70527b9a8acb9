package org.smpo.data;

import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairLabel;
import org.smpo.objective.RewardEnsemble;
import org.smpo.objective.SmoothedLabel;
import org.smpo.objective.SmoothedLabel.WinnerBy;

/// Decides which image of a pair is the winner, with what probability and margin, from the choice of people, the
/// probability in the data, and scores.
///
/// A tie has no winner, nor has a pair without the choice, probability or scores that decide. Immutable.
public final class Labeler {
    /// Decides one pair.
    @FunctionalInterface
    private interface Rule {
        Optional<PairLabel> label(HumanChoice people, OptionalDouble probability0, List<PairScores> scores);
    }

    private final Rule rule;
    private final boolean reversed;

    private Labeler(Rule rule, boolean reversed) {
        this.rule = rule;
        this.reversed = reversed;
    }

    /// A labeler by the choice of people, with probability 1.
    public static Labeler ofPeople() {
        return new Labeler(
                (people, probability0, scores) ->
                        people.isDecided() ? Optional.of(certain(people.winner(), 1, scores)) : Optional.empty(),
                false);
    }

    /// A labeler by the probability that the data gives.
    ///
    /// @param orLabel whether the choice of people has probability 1 where the data gives none; if false, such a
    ///     pair has no label
    public static Labeler ofData(boolean orLabel) {
        return new Labeler(
                (people, probability0, scores) -> {
                    if (!people.isDecided() || (probability0.isEmpty() && !orLabel)) {
                        return Optional.empty();
                    }
                    if (probability0.isEmpty()) {
                        return Optional.of(certain(people.winner(), 1, scores));
                    }
                    double first = probability0.getAsDouble();
                    return Optional.of(certain(first > 0.5 ? 0 : 1, Math.max(first, 1 - first), scores));
                },
                false);
    }

    /// A labeler whose probabilities come from the scores of one reward; the rule tells whether scores or people
    /// decide the winner.
    public static Labeler smoothed(SmoothedLabel rule) {
        return new Labeler(
                (people, probability0, scores) -> {
                    if (scores.isEmpty() || !isDecided(rule.winner(), people)) {
                        return Optional.empty();
                    }
                    PairScores given = scores.getFirst();
                    return rule.ofScores(given.score0(), given.score1(), people);
                },
                false);
    }

    /// A labeler whose probabilities come from the scores of several rewards.
    ///
    /// @param ensemble the rewards, in the order of the scores
    public static Labeler combined(RewardEnsemble ensemble, WinnerBy winner) {
        return new Labeler(
                (people, probability0, scores) -> scores.isEmpty() || !isDecided(winner, people)
                        ? Optional.empty()
                        : ensemble.label(
                                scores.stream().mapToDouble(PairScores::score0).toArray(),
                                scores.stream().mapToDouble(PairScores::score1).toArray(),
                                people,
                                winner),
                false);
    }

    private static PairLabel certain(int winner, double probability, List<PairScores> scores) {
        double margin = scores.isEmpty() ? Double.NaN : scores.getFirst().margin(winner);
        return new PairLabel(winner, probability, false, margin);
    }

    private static boolean isDecided(WinnerBy winner, HumanChoice people) {
        return winner == WinnerBy.REWARD || people.isDecided();
    }

    /// This labeler, or the one that exchanges winner and loser of each of its labels.
    public Labeler reversedIf(boolean exchange) {
        return exchange ? new Labeler(rule, !reversed) : this;
    }

    /// The label of a pair, or empty when it cannot be trained on.
    ///
    /// @param probability0 probability in the data that image 0 is the better one, if there is any
    /// @param scores scores of each reward; empty when one of them has none
    /// @throws IllegalArgumentException when a score is not finite
    public Optional<PairLabel> label(HumanChoice people, OptionalDouble probability0, List<PairScores> scores) {
        Optional<PairLabel> label = rule.label(people, probability0, scores);
        return reversed ? label.map(PairLabel::reversed) : label;
    }
}
