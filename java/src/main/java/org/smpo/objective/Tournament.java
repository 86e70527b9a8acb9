package org.smpo.objective;

import java.util.ArrayList;
import java.util.List;

/// A tournament among the images of a group, which finds a champion in one comparison less than there are images.
///
/// The first image of the order is the incumbent. Each further one challenges it and takes its place if the judge
/// gives it a probability above ½; at ½ the incumbent stays. The caller asks the judge, one comparison after
/// another, so that many tournaments can ask at once.
///
/// Source: iterative pairwise ranking, arXiv 2411.05875. Not thread-safe.
public final class Tournament {
    private final int[] order;
    private final List<Comparison> comparisons = new ArrayList<>();
    private int incumbent;
    private int next = 1;

    /// A comparison that was decided.
    ///
    /// @param incumbent image that was the champion before
    /// @param challenger image that challenged it
    /// @param probability probability that the challenger is the better one
    public record Comparison(int incumbent, int challenger, double probability) {}

    /// Begins a tournament.
    ///
    /// @param order the images in the order in which they compete, at least one
    public Tournament(int... order) {
        if (order.length == 0) {
            throw new IllegalArgumentException("tournament: order: expected at least one image, got none");
        }
        this.order = order.clone();
        this.incumbent = order[0];
    }

    /// Whether no comparison is left.
    public boolean isOver() {
        return next == order.length;
    }

    /// The champion so far.
    public int champion() {
        return incumbent;
    }

    /// The image that challenges the champion next.
    ///
    /// @throws IllegalStateException when the tournament is over
    public int challenger() {
        if (isOver()) {
            throw new IllegalStateException("tournament: expected a comparison that is left, found none");
        }
        return order[next];
    }

    /// Decides the next comparison.
    ///
    /// @param probability probability that the challenger is better than the champion so far
    /// @throws InvalidParameterException when it is not within 0 to 1
    public void decide(double probability) {
        Require.unit("tournament", "probability", probability);
        comparisons.add(new Comparison(incumbent, challenger(), probability));
        if (probability > 0.5) {
            incumbent = challenger();
        }
        next++;
    }

    /// The comparisons that were decided, in order.
    public List<Comparison> comparisons() {
        return List.copyOf(comparisons);
    }
}
