package org.smpo.data;

import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairLabel;

/// The pairs of a source with their labels: which can be trained on, and why the others cannot. Immutable.
public final class LabelledPairs {
    private final PairLabels labels;
    private final ScoreTable scores;
    private final Labeler labeler;
    private final int[] eligible;
    private final int ties;
    private final int flipped;

    public LabelledPairs(PairLabels labels, ScoreTable scores, Labeler labeler) {
        this.labels = labels;
        this.scores = scores;
        this.labeler = labeler;
        this.eligible = IntStream.range(0, labels.size())
                .filter(pair -> label(pair).isPresent())
                .toArray();
        this.ties = (int) IntStream.range(0, labels.size())
                .filter(pair -> labels.people(pair) == HumanChoice.TIE)
                .count();
        this.flipped = (int) IntStream.of(eligible)
                .filter(pair -> label(pair).orElseThrow().flipped())
                .count();
    }

    /// A pair's label, or empty when it cannot be trained on.
    public Optional<PairLabel> label(int pair) {
        return labeler.label(labels.people(pair), scores.scores(pair));
    }

    /// Places of the pairs that can be trained on, increasing; a copy.
    public int[] eligible() {
        return eligible.clone();
    }

    /// How many pairs people called a tie.
    public int ties() {
        return ties;
    }

    /// How many pairs have no winner because neither people nor scores name one.
    public int unlabelled() {
        return labels.size() - eligible.length - ties;
    }

    /// How many pairs have another winner than people chose.
    public int flipped() {
        return flipped;
    }

    /// Both scores of every pair that has any, for a label with the data's own range.
    ///
    /// @see org.smpo.objective.SmoothedLabel#ofRange
    public static double[] allScores(PairLabels labels, ScoreTable scores) {
        return IntStream.range(0, labels.size())
                .mapToObj(scores::scores)
                .flatMap(Optional::stream)
                .flatMapToDouble(both -> DoubleStream.of(both.score0(), both.score1()))
                .toArray();
    }
}
