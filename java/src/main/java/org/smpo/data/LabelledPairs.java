package org.smpo.data;

import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairLabel;

/// The pairs of a source with their labels: which of them can be trained on, and why the others cannot.
/// Immutable.
public final class LabelledPairs {
    private final PairLabels labels;
    private final IntFunction<List<PairScores>> scores;
    private final Labeler labeler;
    private final int[] eligible;
    private final int ties;
    private final int flipped;
    private final int withoutMargin;

    /// @param labels labels of all records of the source
    /// @param scores scores of the pair at an index by each reward; empty when one of them has none
    /// @param labeler decides the winner of each pair
    /// @param needsMargin whether a pair without a margin, since it has no scores, cannot be trained on
    public LabelledPairs(
            PairLabels labels, IntFunction<List<PairScores>> scores, Labeler labeler, boolean needsMargin) {
        this.labels = labels;
        this.scores = scores;
        this.labeler = labeler;
        int[] labelled = IntStream.range(0, labels.size())
                .filter(pair -> label(pair).isPresent())
                .toArray();
        this.eligible = IntStream.of(labelled)
                .filter(pair -> !needsMargin
                        || Double.isFinite(label(pair).orElseThrow().margin()))
                .toArray();
        this.withoutMargin = labelled.length - eligible.length;
        this.ties = (int) IntStream.range(0, labels.size())
                .filter(pair -> labels.people(pair) == HumanChoice.TIE)
                .count();
        this.flipped = (int) IntStream.of(eligible)
                .filter(pair -> label(pair).orElseThrow().flipped())
                .count();
    }

    /// The label of a pair, or empty when the pair has no winner.
    public Optional<PairLabel> label(int pair) {
        return labeler.label(labels.people(pair), labels.probability0(pair), scores.apply(pair));
    }

    /// Indices of the pairs that can be trained on, increasing; a copy.
    public int[] eligible() {
        return eligible.clone();
    }

    /// Number of pairs that people called a tie.
    public int ties() {
        return ties;
    }

    /// Number of pairs without a winner because neither people, probabilities nor scores name one.
    public int unlabelled() {
        return labels.size() - eligible.length - withoutMargin - ties;
    }

    /// Number of pairs with a winner that cannot be trained on because they have no margin.
    public int withoutMargin() {
        return withoutMargin;
    }

    /// Number of pairs with another winner than the one that people chose, before labels are reversed.
    public int flipped() {
        return flipped;
    }

    /// Both scores of every pair that has them, for a label with the data's own score range.
    ///
    /// @param scores scores of the pair at an index by each reward
    /// @see org.smpo.objective.SmoothedLabel#ofRange
    public static double[] allScores(PairLabels labels, IntFunction<List<PairScores>> scores) {
        return IntStream.range(0, labels.size())
                .mapToObj(scores)
                .flatMap(List::stream)
                .flatMapToDouble(both -> DoubleStream.of(both.score0(), both.score1()))
                .toArray();
    }
}
