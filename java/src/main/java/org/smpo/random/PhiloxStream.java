package org.smpo.random;

/// A cursor over the numbers of one (seed, purpose, step, item). Where it starts is a pure function of that
/// key; make it, read it and drop it in one place. Not thread-safe.
public final class PhiloxStream {
    private static final int WORDS_PER_BLOCK = 4;

    private final int k0;
    private final int k1;
    private final int c1;
    private final int c2;
    private final int c3;
    private final int[] words = new int[WORDS_PER_BLOCK];
    private int next = WORDS_PER_BLOCK;
    private long nextBlock;

    PhiloxStream(long seed, int c1, int c2, int c3) {
        this.k0 = (int) seed;
        this.k1 = (int) (seed >>> 32);
        this.c1 = c1;
        this.c2 = c2;
        this.c3 = c3;
    }

    /// The next 32 bits: word 0 to 3 of block 0, then of block 1, and so on.
    ///
    /// @throws IllegalStateException after 2^34 words, the whole of the stream
    public int nextWord() {
        if (next == WORDS_PER_BLOCK) {
            if (nextBlock > 0xFFFFFFFFL) {
                throw new IllegalStateException("a stream has 2^34 words and all were read");
            }
            Philox.block((int) nextBlock, c1, c2, c3, k0, k1, words);
            nextBlock++;
            next = 0;
        }
        return words[next++];
    }

    /// A uniform integer in `[0, bound)`: the high half of word x bound, where words whose low half falls into
    /// the uneven rest are skipped (Lemire, "Fast random integer generation in an interval", 2019). Exactly
    /// uniform; takes one word, and each further one with a probability of less than bound / 2^32.
    public int nextInt(int bound) {
        if (bound < 1) {
            throw new IllegalArgumentException("bound: expected 1 or more, got " + bound);
        }
        long product = Integer.toUnsignedLong(nextWord()) * bound;
        if (Integer.compareUnsigned((int) product, bound) < 0) {
            int uneven = Integer.remainderUnsigned(-bound, bound);
            while (Integer.compareUnsigned((int) product, uneven) < 0) {
                product = Integer.toUnsignedLong(nextWord()) * bound;
            }
        }
        return (int) (product >>> 32);
    }

    /// A uniform multiple of 2^-53 in `[0, 1)`: the upper 27 bits of one word above the upper 26 of the next.
    public double nextDouble() {
        long high = Integer.toUnsignedLong(nextWord()) >>> 5;
        long low = Integer.toUnsignedLong(nextWord()) >>> 6;
        return (high << 26 | low) * 0x1p-53;
    }
}
