package org.smpo.recipe;

import java.util.List;
import java.util.Optional;

/// The range of a reward model's scores, which a smoothed label maps to 0..1.
public sealed interface ScoreRange extends Written {
    String PUBLISHED = "published";
    String DATA = "data";

    /// Kind of the reward that the published range belongs to.
    String PUBLISHED_REWARD = "pickscore";

    /// PickScore's range over Pick-a-Pic v2, from the code of SmPO-Diffusion.
    record Published() implements ScoreRange {
        @Override
        public Object written() {
            return new ResolvedText.Word(PUBLISHED);
        }
    }

    /// The smallest and the largest score of the data.
    record OfData() implements ScoreRange {
        @Override
        public Object written() {
            return new ResolvedText.Word(DATA);
        }
    }

    /// A given range.
    ///
    /// @param minimum finite
    /// @param maximum finite, greater
    record Between(double minimum, double maximum) implements ScoreRange {
        public Between {
            Check.that(
                    Double.isFinite(minimum) && Double.isFinite(maximum) && maximum > minimum,
                    "range",
                    "[minimum, maximum] with a maximum above the minimum",
                    "[" + minimum + ", " + maximum + "]");
        }

        @Override
        public Object written() {
            return List.of(minimum, maximum);
        }
    }

    /// Reads `published`, `data` or [minimum, maximum].
    static ScoreRange read(Section in, String key, ScoreRange otherwise) throws RecipeException {
        Optional<Node> found = in.find(key);
        if (found.isEmpty()) {
            return otherwise;
        }
        if (Section.isWord(found.get(), PUBLISHED)) {
            return new Published();
        }
        if (Section.isWord(found.get(), DATA)) {
            return new OfData();
        }
        String expected = "published, data or [minimum, maximum]";
        List<Double> ends = in.list(key, expected, found.get(), (at, node) -> in.number(at, node, "a number"));
        if (ends.size() != 2) {
            throw in.wrong(key, expected, found.get());
        }
        return new Between(ends.get(0), ends.get(1));
    }
}
