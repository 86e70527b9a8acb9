package org.smpo.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

/// Which pairs are trained on at which step: a pure function of the seed and the step, so that a run continues
/// where it was interrupted without anything stored.
///
/// Every epoch is a permutation of the training pairs of its own; the epochs follow one another without a gap, and
/// a window may span two. The window of a step is the same however many ranks share it: rank r of n takes the r-th
/// of n equal runs of it. Immutable; safe for use from any thread.
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

    /// @param eligible places of the pairs that can be trained on, increasing; copied
    /// @param heldOut how many of them are kept away from training
    /// @param seed of the run
    /// @param rank of this process, in `[0, ranks)`
    /// @param ranks how many processes share a window
    /// @throws IllegalArgumentException when no pair is left to train on, or the rank is not one of the ranks
    public DataCursor(int[] eligible, HeldOut heldOut, long seed, int rank, int ranks) {
        if (ranks < 1 || rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException("rank: expected 0 to " + (ranks - 1) + ", got " + rank);
        }
        int kept = heldOut.of(eligible.length);
        if (kept >= eligible.length) {
            throw new IllegalArgumentException("data: expected more pairs with a winner than are held out, found "
                    + eligible.length + " of which " + kept + " are held out");
        }
        this.philox = new Philox(seed);
        this.rank = rank;
        this.ranks = ranks;
        int[] order = philox.permutation(Purpose.HELD_OUT, 0, eligible.length);
        this.heldOut = new int[kept];
        this.training = new int[eligible.length - kept];
        for (int i = 0; i < order.length; i++) {
            if (i < kept) {
                this.heldOut[i] = eligible[order[i]];
            } else {
                this.training[i - kept] = eligible[order[i]];
            }
        }
        Arrays.sort(this.heldOut);
        Arrays.sort(this.training);
    }

    /// How many pairs are trained on.
    public int trainingPairs() {
        return training.length;
    }

    /// Places of the pairs that are never trained on, increasing; a copy.
    public int[] heldOutPairs() {
        return heldOut.clone();
    }

    /// This rank's pairs of an optimizer step, in order.
    ///
    /// @param step from 0
    /// @param pairsPerStep of all ranks together, a multiple of their number
    /// @throws IllegalArgumentException when it is not, or the step is negative or too far away
    public List<Draw> window(long step, int pairsPerStep) {
        if (pairsPerStep < 1 || pairsPerStep % ranks != 0) {
            throw new IllegalArgumentException(
                    "pairs per step: expected a positive multiple of " + ranks + " ranks, got " + pairsPerStep);
        }
        if (step < 0 || step > Long.MAX_VALUE / pairsPerStep - 1) {
            throw new IllegalArgumentException("step: expected 0 or more, got " + step);
        }
        int share = pairsPerStep / ranks;
        long first = step * pairsPerStep + (long) rank * share;
        List<Draw> draws = new ArrayList<>(share);
        for (long position = first; position < first + share; position++) {
            long epoch = position / training.length;
            int[] places = order(epoch);
            draws.add(new Draw(training[places[(int) (position % training.length)]], epoch));
        }
        return draws;
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
