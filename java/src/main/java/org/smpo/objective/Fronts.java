package org.smpo.objective;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/// The Pareto fronts of a group of images that several rewards score.
///
/// Image i dominates image k if no reward scores it lower and one scores it higher. The upper front has the
/// images that none dominates, the lower front those that dominate none.
///
/// Source: arXiv 2502.02588. Its project page dominates with "no lower" alone; with that rule, two images of
/// equal scores would dominate each other and leave both fronts.
///
/// @param upper indices of the upper front, increasing
/// @param lower indices of the lower front, increasing
public record Fronts(List<Integer> upper, List<Integer> lower) {
    /// A pair of indices of images.
    ///
    /// @param winner index in the upper front
    /// @param loser index in the lower front
    public record Candidate(int winner, int loser) {}

    public Fronts {
        upper = List.copyOf(upper);
        lower = List.copyOf(lower);
    }

    /// The fronts of a group.
    ///
    /// @param values `[images][rewards]`
    public static Fronts of(double[][] values) {
        List<Integer> upper = IntStream.range(0, values.length)
                .filter(i -> IntStream.range(0, values.length).noneMatch(k -> dominates(values[k], values[i])))
                .boxed()
                .toList();
        List<Integer> lower = IntStream.range(0, values.length)
                .filter(i -> IntStream.range(0, values.length).noneMatch(k -> dominates(values[i], values[k])))
                .boxed()
                .toList();
        return new Fronts(upper, lower);
    }

    private static boolean dominates(double[] one, double[] other) {
        boolean better = false;
        for (int reward = 0; reward < one.length; reward++) {
            if (one[reward] < other[reward]) {
                return false;
            }
            better |= one[reward] > other[reward];
        }
        return better;
    }

    /// The pairs of an image of the upper and one of the lower front, in increasing order. Images in both fronts
    /// are in no pair, and the winner has the higher combined score.
    ///
    /// @param combined one number per image
    public List<Candidate> pairs(double[] combined) {
        List<Candidate> pairs = new ArrayList<>();
        for (int winner : upper) {
            for (int loser : lower) {
                if (!lower.contains(winner) && !upper.contains(loser) && combined[winner] > combined[loser]) {
                    pairs.add(new Candidate(winner, loser));
                }
            }
        }
        return pairs;
    }
}
