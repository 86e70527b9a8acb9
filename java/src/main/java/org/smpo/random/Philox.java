package org.smpo.random;

/// The counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
/// keyed as the native engine keys it, so that both sides name the same numbers.
///
/// Every number is a pure function of (seed, purpose, step, item, position): nothing depends on the order of calls, on
/// the batch size, on threads, or on where a run was interrupted. The key is the seed; the counter's words are
///
/// | word | holds |
/// |---|---|
/// | c0 | block: four 32-bit words of output each |
/// | c1 | item, bits 0..31 |
/// | c2 | step |
/// | c3 | purpose << 24 \| item, bits 32..55 |
///
/// Immutable; safe for use from any thread.
public final class Philox {
    private static final int ROUNDS = 10;
    private static final long MULTIPLIER_0 = 0xD2511F53L;
    private static final long MULTIPLIER_1 = 0xCD9E8D57L;
    private static final int WEYL_0 = 0x9E3779B9;
    private static final int WEYL_1 = 0xBB67AE85;
    private static final long WORD_MASK = 0xFFFFFFFFL;

    private final long seed;

    public Philox(long seed) {
        this.seed = seed;
    }

    public long seed() {
        return seed;
    }

    /// The numbers of one (purpose, step, item), from the first on.
    ///
    /// @param step step number in `[0, 2^32)`
    /// @param item item number in `[0, 2^56)`
    public PhiloxStream stream(Purpose purpose, long step, long item) {
        if (step < 0 || step > WORD_MASK) {
            throw new IllegalArgumentException("step: expected 0 to 2^32 - 1, got " + step);
        }
        if (item < 0 || item >= 1L << 56) {
            throw new IllegalArgumentException("item: expected 0 to 2^56 - 1, got " + item);
        }
        return new PhiloxStream(seed, (int) item, (int) step, purpose.code() << 24 | (int) (item >>> 32));
    }

    /// A uniform integer in `[0, bound)` without modulo bias: the first of the stream of (purpose, step, item).
    ///
    /// @see PhiloxStream#nextInt
    public int uniformInt(Purpose purpose, long step, long item, int bound) {
        return stream(purpose, step, item).nextInt(bound);
    }

    /// A uniform double in `[0, 1)`: the first of the stream of (purpose, step, item).
    ///
    /// @see PhiloxStream#nextDouble
    public double uniformDouble(Purpose purpose, long step, long item) {
        return stream(purpose, step, item).nextDouble();
    }

    /// A uniform permutation of `0 .. size - 1`: the shuffle of Fisher and Yates, drawing from the stream of (purpose,
    /// epoch, item 0). A pure function of (seed, purpose, epoch, size); the caller owns the array.
    public int[] permutation(Purpose purpose, long epoch, int size) {
        if (size < 0) {
            throw new IllegalArgumentException("size: expected 0 or more, got " + size);
        }
        int[] order = new int[size];
        for (int i = 0; i < size; i++) {
            order[i] = i;
        }
        PhiloxStream stream = stream(purpose, epoch, 0);
        for (int last = size - 1; last > 0; last--) {
            int chosen = stream.nextInt(last + 1);
            int moved = order[last];
            order[last] = order[chosen];
            order[chosen] = moved;
        }
        return order;
    }

    /// One block: four words of output from four counter words and two key words.
    static void block(int c0, int c1, int c2, int c3, int k0, int k1, int[] out) {
        for (int round = 0; round < ROUNDS; round++) {
            long product0 = MULTIPLIER_0 * (c0 & WORD_MASK);
            long product1 = MULTIPLIER_1 * (c2 & WORD_MASK);
            int high0 = (int) (product0 >>> 32);
            int high1 = (int) (product1 >>> 32);
            c0 = high1 ^ c1 ^ k0;
            c1 = (int) product1;
            c2 = high0 ^ c3 ^ k1;
            c3 = (int) product0;
            k0 += WEYL_0;
            k1 += WEYL_1;
        }
        out[0] = c0;
        out[1] = c1;
        out[2] = c2;
        out[3] = c3;
    }
}
