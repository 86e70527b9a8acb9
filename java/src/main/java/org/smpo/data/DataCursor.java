package org.smpo.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

/// Which pairs are trained on at which step: a pure function of the seed and the step, so that an
/// interrupted run resumes without stored state.
///
/// Every epoch is its own permutation of the training pairs. Epochs follow one another without a gap, and a
/// global batch may span two of them. The global batch of a step is the same for any number of ranks:
/// each takes consecutive places of it, as many as the others or one more.
///
/// Pairs may be mixed in with a fixed share f: of all pairs in the order of training, number p (from 0) is one of
/// them where ⌊(p + 1) f⌋ > ⌊p f⌋, so that the first n hold ⌊n f⌋ of them. They and the other pairs each have
/// epochs of their own. Immutable; safe for use from any thread.
public final class DataCursor {
    private final Part training;
    private final Optional<Part> mixed;
    private final double fraction;
    private final int[] heldOut;
    private final int rank;
    private final int ranks;

    /// Pairs that are mixed into the others.
    ///
    /// @param mixed whether the pair at an index is one of them
    /// @param fraction their share of the pairs of a step, above 0 and below 1
    public record Mix(IntPredicate mixed, double fraction) {}

    /// Pairs that are trained on in epochs.
    private static final class Part {
        private final Philox philox;
        private final Purpose purpose;
        private final int[] pairs;
        private volatile Order lastOrder;

        Part(Philox philox, Purpose purpose, int[] pairs) {
            this.philox = philox;
            this.purpose = purpose;
            this.pairs = pairs;
        }

        PairUse use(long position) {
            long epoch = position / pairs.length;
            return new PairUse(pairs[order(epoch)[(int) (position % pairs.length)]], epoch);
        }

        private int[] order(long epoch) {
            Order order = lastOrder;
            if (order == null || order.epoch != epoch) {
                order = new Order(epoch, philox.permutation(purpose, epoch, pairs.length));
                lastOrder = order;
            }
            return order.places;
        }
    }

    private static final class Order {
        private final long epoch;
        private final int[] places;

        Order(long epoch, int[] places) {
            this.epoch = epoch;
            this.places = places;
        }
    }

    /// @param eligible indices of the pairs that can be trained on, increasing; copied
    /// @param heldOut number of pairs that are never trained on; which ones depends on the seed alone
    /// @param seed seed of the run
    /// @param rank number of this process, in `[0, ranks)`
    /// @param ranks number of processes that share a global batch
    /// @param mix pairs that are mixed into the others; empty: none
    /// @throws IllegalArgumentException when no pair is left to train on, or the rank is not one of the ranks
    public DataCursor(int[] eligible, int heldOut, long seed, int rank, int ranks, Optional<Mix> mix) {
        if (ranks < 1 || rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException("rank: expected 0 to " + (ranks - 1) + ", got " + rank);
        }
        if (heldOut < 0 || heldOut >= eligible.length) {
            throw new IllegalArgumentException("data: expected more pairs with a winner than are held out, found "
                    + eligible.length + " of which " + heldOut + " are held out");
        }
        Philox philox = new Philox(seed);
        this.rank = rank;
        this.ranks = ranks;
        int[] order = philox.permutation(Purpose.HELD_OUT, 0, eligible.length);
        this.heldOut = new int[heldOut];
        int[] rest = new int[eligible.length - heldOut];
        for (int i = 0; i < order.length; i++) {
            if (i < heldOut) {
                this.heldOut[i] = eligible[order[i]];
            } else {
                rest[i - heldOut] = eligible[order[i]];
            }
        }
        Arrays.sort(this.heldOut);
        Arrays.sort(rest);
        IntPredicate isMixed = mix.isEmpty() ? pair -> false : mix.get().mixed();
        int[] into = IntStream.of(rest).filter(isMixed).toArray();
        int[] others = IntStream.of(rest).filter(isMixed.negate()).toArray();
        if (others.length == 0 || (mix.isPresent() && into.length == 0)) {
            throw new IllegalArgumentException(
                    "data.mix: expected pairs to train on in data.paths and in data.mix.paths,"
                            + " found " + others.length + " and " + into.length
                            + " that have a label and are not held out; check labels and data.held_out");
        }
        this.training = new Part(philox, Purpose.DATA_ORDER, others);
        this.mixed = mix.map(of -> new Part(philox, Purpose.MIX_ORDER, into));
        this.fraction = mix.map(Mix::fraction).orElse(0.0);
    }

    /// Number of pairs that are trained on.
    public int trainingPairs() {
        return training.pairs.length + mixed.map(part -> part.pairs.length).orElse(0);
    }

    /// Indices of the pairs that are never trained on, increasing; a copy.
    public int[] heldOutPairs() {
        return heldOut.clone();
    }

    /// This rank's pairs of an optimizer step, in order.
    ///
    /// @param step number of the step, from 0
    /// @param pairsPerStep size of the global batch, at least the number of ranks
    /// @throws IllegalArgumentException when it is not, or the step is negative or too large
    public List<PairUse> batch(long step, int pairsPerStep) {
        if (pairsPerStep < ranks) {
            throw new IllegalArgumentException(
                    "pairs per step: expected at least " + ranks + ", one for each process, got " + pairsPerStep);
        }
        if (step < 0 || step > Long.MAX_VALUE / pairsPerStep - 1) {
            throw new IllegalArgumentException("step: expected 0 or more, got " + step);
        }
        long begin = step * pairsPerStep;
        int first = firstPlace(pairsPerStep);
        int end = endPlace(pairsPerStep);
        List<PairUse> uses = new ArrayList<>(end - first);
        for (long position = begin + first; position < begin + end; position++) {
            uses.add(use(position));
        }
        return uses;
    }

    /// The pair at a position in the order of training.
    private PairUse use(long position) {
        long before = (long) Math.floor(position * fraction);
        boolean isMixed = (long) Math.floor((position + 1) * fraction) > before;
        return isMixed ? mixed.orElseThrow().use(before) : training.use(position - before);
    }

    /// Place in the global batch of this rank's first pair.
    public int firstPlace(int pairsPerStep) {
        return firstPlace(pairsPerStep, rank, ranks);
    }

    /// Place in the global batch after this rank's last pair.
    public int endPlace(int pairsPerStep) {
        return firstPlace(pairsPerStep, rank + 1, ranks);
    }

    /// Place of a rank's first pair where several share some places; it ends where the next rank's begins.
    public static int firstPlace(int places, int rank, int ranks) {
        return Math.toIntExact((long) places * rank / ranks);
    }
}
