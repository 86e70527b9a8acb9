package org.smpo.data;

import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.objective.HumanChoice;

/// The labels, probabilities and scores of all pairs of a source, in memory: about 30 bytes per pair. Immutable.
///
/// A record whose label or scores are wrong counts as unlabelled here; reading it tells what is wrong.
public final class PairLabels {
    private final HumanChoice[] people;
    private final double[] probability0;
    private final double[] score0;
    private final double[] score1;

    private PairLabels(HumanChoice[] people, double[] probability0, double[] score0, double[] score1) {
        this.people = people;
        this.probability0 = probability0;
        this.score0 = score0;
        this.score1 = score1;
    }

    public int size() {
        return people.length;
    }

    /// The choice of people for a pair.
    public HumanChoice people(int index) {
        return people[index];
    }

    /// The probability in the data that image 0 of a pair is the better one, if there is any.
    public OptionalDouble probability0(int index) {
        return Double.isNaN(probability0[index]) ? OptionalDouble.empty() : OptionalDouble.of(probability0[index]);
    }

    /// The scores of a pair in the data itself, if there are any.
    public Optional<PairScores> scores(int index) {
        return Double.isNaN(score0[index])
                ? Optional.empty()
                : Optional.of(new PairScores(score0[index], score1[index]));
    }

    /// Collects labels and scores in order.
    static final class Builder {
        private HumanChoice[] people = new HumanChoice[1024];
        private double[] probability0 = new double[1024];
        private double[] score0 = new double[1024];
        private double[] score1 = new double[1024];
        private int size;

        void add(HumanChoice choice, OptionalDouble probability, Optional<PairScores> scores) {
            if (size == people.length) {
                int larger = Math.addExact(size, size / 2);
                people = Arrays.copyOf(people, larger);
                probability0 = Arrays.copyOf(probability0, larger);
                score0 = Arrays.copyOf(score0, larger);
                score1 = Arrays.copyOf(score1, larger);
            }
            people[size] = choice;
            probability0[size] = probability.orElse(Double.NaN);
            score0[size] = scores.map(PairScores::score0).orElse(Double.NaN);
            score1[size] = scores.map(PairScores::score1).orElse(Double.NaN);
            size++;
        }

        /// Adds the label and scores of a record, or none where they are wrong.
        void add(PairFields fields) {
            HumanChoice choice = HumanChoice.UNKNOWN;
            OptionalDouble probability = OptionalDouble.empty();
            Optional<PairScores> scores = Optional.empty();
            try {
                choice = fields.people();
                probability = fields.probability0();
                scores = fields.scores();
            } catch (BadPairException e) {
                choice = HumanChoice.UNKNOWN;
                probability = OptionalDouble.empty();
            }
            add(choice, probability, scores);
        }

        /// Adds a record that could not be read at all.
        void addUnknown() {
            add(HumanChoice.UNKNOWN, OptionalDouble.empty(), Optional.empty());
        }

        int size() {
            return size;
        }

        PairLabels build() {
            return new PairLabels(
                    Arrays.copyOf(people, size),
                    Arrays.copyOf(probability0, size),
                    Arrays.copyOf(score0, size),
                    Arrays.copyOf(score1, size));
        }
    }
}
