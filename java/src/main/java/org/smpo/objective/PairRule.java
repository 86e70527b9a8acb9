package org.smpo.objective;

/// A rule that selects preference pairs among the images of a prompt.
public enum PairRule {
    /// The image with the highest score against the one with the lowest; then the second ones, and so
    /// on.
    BEST_WORST("best-worst"),
    /// Random pairs of an image on the upper and one on the lower Pareto front.
    FRONTIER("frontier"),
    /// The champion of a tournament against another image.
    TOURNAMENT("tournament"),
    /// Random pairs.
    RANDOM("random");

    private final String id;

    PairRule(String id) {
        this.id = id;
    }

    /// Returns the name on command lines.
    public String id() {
        return id;
    }
}
