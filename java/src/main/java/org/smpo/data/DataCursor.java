package org.smpo.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

/// Which pairs are trained on at which step: a pure function of the seed and the step, so that an
/// interrupted run resumes without stored state.
///
/// Every epoch is its own permutation of the training pairs. Epochs follow one another without a gap, and a
/// global batch may span two of them. The global batch of a step is the same for any number of ranks:
/// each takes consecutive places of it, as many as the others or one more. Immutable; safe for use from
/// any thread.
public final class DataCursor {
    private final Philox philox;
    private final int[] training;
    private final int[] heldOut;
    private final int rank;
    private final int ranks;
    private volatile Order lastOrder;

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
    /// @throws IllegalArgumentException when no pair is left to train on, or the rank is not one of the ranks
    public DataCursor(int[] eligible, int heldOut, long seed, int rank, int ranks) {
        if (ranks < 1 || rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException("rank: expected 0 to " + (ranks - 1) + ", got " + rank);
        }
        if (heldOut < 0 || heldOut >= eligible.length) {
            throw new IllegalArgumentException("data: expected more pairs with a winner than are held out, found "
                    + eligible.length + " of which " + heldOut + " are held out");
        }
        this.philox = new Philox(seed);
        this.rank = rank;
        this.ranks = ranks;
        int[] order = philox.permutation(Purpose.HELD_OUT, 0, eligible.length);
        this.heldOut = new int[heldOut];
        this.training = new int[eligible.length - heldOut];
        for (int i = 0; i < order.length; i++) {
            if (i < heldOut) {
                this.heldOut[i] = eligible[order[i]];
            } else {
                this.training[i - heldOut] = eligible[order[i]];
            }
        }
        Arrays.sort(this.heldOut);
        Arrays.sort(this.training);
    }

    /// Number of pairs that are trained on.
    public int trainingPairs() {
        return training.length;
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
        int first = firstPlace(pairsPerStep, rank);
        int end = firstPlace(pairsPerStep, rank + 1);
        List<PairUse> uses = new ArrayList<>(end - first);
        for (long position = begin + first; position < begin + end; position++) {
            long epoch = position / training.length;
            int[] places = order(epoch);
            uses.add(new PairUse(training[places[(int) (position % training.length)]], epoch));
        }
        return uses;
    }

    /// Place in the global batch of this rank's first pair.
    public int firstPlace(int pairsPerStep) {
        return firstPlace(pairsPerStep, rank);
    }

    private int firstPlace(int pairsPerStep, int of) {
        return Math.toIntExact((long) pairsPerStep * of / ranks);
    }

    private int[] order(long epoch) {
        Order order = lastOrder;
        if (order == null || order.epoch != epoch) {
            order = new Order(epoch, philox.permutation(Purpose.DATA_ORDER, epoch, training.length));
            lastOrder = order;
        }
        return order.places;
    }
}
