package org.smpo.recipe;

/// Source of the probability that the winner of a pair is the better image.
public sealed interface LabelProbability extends Written {
    String DATA = "data";
    String DATA_OR_LABEL = "data_or_label";

    /// The scores, where the objective asks for a probability.
    record OfScores() implements LabelProbability {
        @Override
        public Object written() {
            return new ResolvedText.Word(Section.NONE);
        }
    }

    /// The field `probability_0` of the data.
    ///
    /// @param orLabel whether a pair without it has the probability 1 if it has a label, or is left out
    record OfData(boolean orLabel) implements LabelProbability {
        @Override
        public Object written() {
            return new ResolvedText.Word(orLabel ? DATA_OR_LABEL : DATA);
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
