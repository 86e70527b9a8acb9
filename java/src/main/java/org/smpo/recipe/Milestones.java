package org.smpo.recipe;

import java.util.List;
import java.util.Optional;

/// Steps whose checkpoints are never deleted.
public sealed interface Milestones extends Written {
    /// Named steps.
    ///
    /// @param steps 1 or more each; none: no milestones
    record At(List<Long> steps) implements Milestones {
        public At {
            steps = List.copyOf(steps);
            steps.forEach(step -> Check.atLeast(1, "milestones", step));
        }

        @Override
        public Object written() {
            return steps.isEmpty() ? new ResolvedText.Word(Section.NONE) : steps;
        }
    }

    /// Steps at a regular interval.
    ///
    /// @param steps interval, 1 or more
    record Every(long steps) implements Milestones {
        public Every {
            Check.atLeast(1, "milestones", steps);
        }

        @Override
        public Object written() {
            return steps;
        }
    }

    /// Reads `none`, a list of steps, or an interval in steps.
    static Milestones read(Section in, String key) throws RecipeException {
        Optional<Node> found = in.find(key);
        if (found.isEmpty() || Section.isWord(found.get(), Section.NONE)) {
            return new At(List.of());
        }
        String expected = "none, a list of steps, or a number of steps";
        return found.get() instanceof Node.Scalar scalar
                ? new Every(in.integer(key, scalar, expected))
                : new At(in.list(key, expected, found.get(), (at, node) -> in.integer(at, node, "a step")));
    }

    /// Whether the state after a step is a milestone.
    default boolean contains(long step) {
        return switch (this) {
            case At at -> at.steps().contains(step);
            case Every every -> step > 0 && step % every.steps() == 0;
        };
    }
}
