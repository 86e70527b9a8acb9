package org.smpo.data;

/// How many pairs are kept away from training, to measure on. Which ones depends on the seed alone.
///
/// @param pairs a number, or 0
/// @param fraction of all pairs that can be trained on, rounded down, or 0
public record HeldOut(int pairs, double fraction) {
    /// None.
    public static final HeldOut NONE = new HeldOut(0, 0);

    /// @throws IllegalArgumentException when one is negative, both are given, or the fraction is not below 1
    public HeldOut {
        if (pairs < 0 || !(fraction >= 0 && fraction < 1) || (pairs > 0 && fraction > 0)) {
            throw new IllegalArgumentException("held out: expected a number of pairs >= 0 or a fraction in [0, 1), got "
                    + pairs + " pairs and fraction " + fraction);
        }
    }

    int of(int all) {
        return fraction > 0 ? (int) (fraction * all) : pairs;
    }
}
