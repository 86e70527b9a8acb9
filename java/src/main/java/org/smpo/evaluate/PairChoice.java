package org.smpo.evaluate;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import org.smpo.objective.Fronts;
import org.smpo.objective.RewardEnsemble;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// A pair that was chosen among the images of a group.
///
/// @param winner index of the better image
/// @param loser index of the other one
/// @param probability probability that the winner is the better image, above ½; empty if unknown
record PairChoice(int winner, int loser, OptionalDouble probability) {
    /// Returns whether the preference 2p − 1 is at least as large as asked for.
    boolean isPreferred(double least) {
        return probability.isEmpty() || 2 * probability.getAsDouble() - 1 >= least;
    }

    /// Chooses the pairs of a group by its scores.
    ///
    /// @param scores scores by each reward, `[images][rewards]`
    /// @param combined combined score of each image
    static List<PairChoice> choose(PairsRequest request, ScoredGroup group, double[][] scores, double[] combined) {
        return switch (request.select()) {
            case BEST_WORST -> ranked(request, combined);
            case FRONTIER -> {
                List<PairChoice> all = new ArrayList<>();
                for (Fronts.Candidate pair : Fronts.of(scores).pairs(combined)) {
                    all.add(of(request, combined, pair.winner(), pair.loser()));
                }
                yield some(request, group, all);
            }
            case RANDOM -> {
                List<PairChoice> all = new ArrayList<>();
                for (int one = 0; one < combined.length; one++) {
                    for (int other = one + 1; other < combined.length; other++) {
                        if (combined[one] != combined[other]) {
                            boolean first = combined[one] > combined[other];
                            all.add(of(request, combined, first ? one : other, first ? other : one));
                        }
                    }
                }
                yield some(request, group, all);
            }
            case TOURNAMENT ->
                throw new IllegalArgumentException("select: expected a rule by scores, got a tournament");
        };
    }

    private static PairChoice of(PairsRequest request, double[] combined, int winner, int loser) {
        return new PairChoice(
                winner,
                loser,
                request.hasProbabilities()
                        ? OptionalDouble.of(
                                RewardEnsemble.probability(request.combination(), combined[winner] - combined[loser]))
                        : OptionalDouble.empty());
    }

    /// The k-th best image against the k-th worst; images of equal scores by their seeds.
    private static List<PairChoice> ranked(PairsRequest request, double[] combined) {
        List<Integer> best = ranking(combined, -1);
        List<Integer> worst = ranking(combined, 1);
        List<PairChoice> chosen = new ArrayList<>();
        for (int k = 0; k < Math.min(request.perPrompt(), combined.length / 2); k++) {
            if (combined[best.get(k)] > combined[worst.get(k)]) {
                chosen.add(of(request, combined, best.get(k), worst.get(k)));
            }
        }
        return chosen.stream().filter(pair -> isKept(request, pair)).toList();
    }

    private static List<Integer> ranking(double[] combined, int sign) {
        return IntStream.range(0, combined.length)
                .boxed()
                .sorted(Comparator.comparingDouble(image -> sign * combined[image]))
                .toList();
    }

    /// A random part of the pairs with enough preference.
    private static List<PairChoice> some(PairsRequest request, ScoredGroup group, List<PairChoice> all) {
        List<PairChoice> left = new ArrayList<>(
                all.stream().filter(pair -> isKept(request, pair)).toList());
        PhiloxStream random = new Philox(request.seed()).stream(Purpose.GROUP_CHOICE, 0, group.prompt());
        List<PairChoice> chosen = new ArrayList<>();
        while (chosen.size() < request.perPrompt() && !left.isEmpty()) {
            chosen.add(left.remove(random.nextInt(left.size())));
        }
        return chosen;
    }

    /// Rounding may leave two different scores with a probability of ½, which is a tie.
    private static boolean isKept(PairsRequest request, PairChoice pair) {
        return pair.isPreferred(request.minPreference()) && pair.probability.orElse(1) > 0.5;
    }
}
