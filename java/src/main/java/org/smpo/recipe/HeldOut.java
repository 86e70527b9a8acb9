package org.smpo.recipe;

import java.util.Optional;

/// Number of pairs that are held out from training for evaluation.
public sealed interface HeldOut extends Written {
    /// A number of pairs.
    ///
    /// @param pairs number of pairs, 0 or more
    record Count(long pairs) implements HeldOut {
        public Count {
            Check.atLeast(0, "held_out", pairs);
        }

        @Override
        public Object written() {
            return pairs;
        }
    }

    /// A share of the pairs.
    ///
    /// @param share fraction of the data's pairs, between 0 and 1, both excluded
    record Share(double share) implements HeldOut {
        public Share {
            Check.that(share > 0 && share < 1, "held_out", "a share between 0 and 1", share);
        }

        @Override
        public Object written() {
            return share;
        }
    }

    /// Reads a share such as 0.01, or a number of pairs such as 100.
    static HeldOut read(Section in, String key, HeldOut otherwise) throws RecipeException {
        String expected = "a number of pairs, such as 100, or a share of them, such as 0.01";
        Optional<Node> found = in.find(key);
        if (found.isEmpty()) {
            return otherwise;
        }
        return found.get() instanceof Node.Scalar scalar && scalar.type() == Node.Scalar.Type.NUMBER
                ? new HeldOut.Share(in.number(key, scalar, expected))
                : new HeldOut.Count(in.integer(key, found.get(), expected));
    }

    /// The number of held-out pairs among `pairs`, rounded down; a share is at least one pair.
    ///
    /// @throws IllegalArgumentException when none would be left to train on
    default long of(long pairs) {
        long kept = switch (this) {
            case Count count -> count.pairs();
            case Share share -> Math.max(1, (long) (share.share() * pairs));
        };
        if (kept >= pairs) {
            throw new IllegalArgumentException("data.held_out: expected fewer than the data's " + pairs
                    + " pairs, so that some are left to train on, got " + kept);
        }
        return kept;
    }

    /// Whether any pair is held out.
    default boolean isAny() {
        return !(this instanceof Count count && count.pairs() == 0);
    }
}
