package org.smpo.recipe;

/// Source of the probability that the winner of a pair is the better image.
public sealed interface LabelProbability extends Written {
    String DATA = "data";

    /// The scores, where the objective asks for a probability.
    record OfScores() implements LabelProbability {
        @Override
        public Object written() {
            return new ResolvedText.Word(Section.NONE);
        }
    }

    /// The field `probability_0` of the data.
    record OfData() implements LabelProbability {
        @Override
        public Object written() {
            return new ResolvedText.Word(DATA);
        }
    }

    /// One probability for all pairs.
    ///
    /// @param value from above ½ to 1
    record Fixed(double value) implements LabelProbability {
        public Fixed {
            Check.that(value > 0.5 && value <= 1, "probability", "a number above 0.5, up to 1", value);
        }

        @Override
        public Object written() {
            return value;
        }
    }
}
