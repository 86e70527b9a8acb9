package org.smpo.objective;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/// Several rewards as one opinion on images of the same caption.
///
/// A reward's score divided by its temperature is a logit of the Bradley-Terry model: image i is better than
/// image k with the probability σ((s_i − s_k)/T). What the rewards say together is the mean of their
/// probabilities under the weights. Arrays of scores are indexed by image, then by reward.
///
/// Source: calibrated rewards of CaPO, arXiv 2502.02588.
///
/// @param temperatures T of each reward, > 0
/// @param weights weight of each reward, ≥ 0 and not all 0; they are divided by their sum
public record RewardEnsemble(List<Double> temperatures, List<Double> weights) {
    private static final String OWNER = "ensemble";

    /// How the scores of several rewards become one number per image.
    public enum Combination {
        /// Weighted mean of win probabilities against the other images of the group, [#calibrated].
        CALIBRATED,
        /// Weighted mean of the scores' standard scores within the group.
        STANDARDISED,
        /// Weighted mean of the scores divided by their temperatures.
        RAW
    }

    /// @throws InvalidParameterException when a number is out of its range
    /// @throws IllegalArgumentException when the lists differ in length or are empty
    public RewardEnsemble {
        if (temperatures.isEmpty() || temperatures.size() != weights.size()) {
            throw new IllegalArgumentException("ensemble: expected as many weights as temperatures and at least one, "
                    + "got " + temperatures.size() + " temperatures and " + weights.size() + " weights");
        }
        temperatures.forEach(temperature -> Require.positive(OWNER, "temperature", temperature));
        weights.forEach(weight -> Require.nonNegative(OWNER, "weight", weight));
        double sum = weights.stream().mapToDouble(Double::doubleValue).sum();
        Require.positive(OWNER, "sum of weights", sum);
        temperatures = List.copyOf(temperatures);
        weights = weights.stream().map(weight -> weight / sum).toList();
    }

    /// Rewards of the same weight.
    public static RewardEnsemble of(List<Double> temperatures) {
        return new RewardEnsemble(temperatures, Collections.nCopies(temperatures.size(), 1.0));
    }

    /// The number of rewards.
    public int size() {
        return temperatures.size();
    }

    /// The probability that the first of two images is the better one.
    ///
    /// @param first scores of the first image by each reward
    /// @param second scores of the second image
    /// @throws IllegalArgumentException when a score is not finite
    public double probability(double[] first, double[] second) {
        requireScores(first);
        requireScores(second);
        double probability = 0;
        for (int reward = 0; reward < size(); reward++) {
            probability +=
                    weights.get(reward) * Logistic.sigmoid((first[reward] - second[reward]) / temperatures.get(reward));
        }
        return probability;
    }

    /// The label of a pair. Its margin is the difference of the two images' calibrated scores, which is 2p − 1.
    /// Empty when people called the pair a tie, or the rewards decide and p is ½.
    ///
    /// @param winner source of the decision which image is the winner
    /// @throws IllegalArgumentException when a score is not finite, or people decide and were not asked
    public Optional<PairLabel> label(
            double[] scores0, double[] scores1, HumanChoice people, SmoothedLabel.WinnerBy winner) {
        double probability0 = probability(scores0, scores1);
        boolean undecided = winner == SmoothedLabel.WinnerBy.REWARD && probability0 == 0.5;
        if (people == HumanChoice.TIE || undecided) {
            return Optional.empty();
        }
        int chosen = winner.decide(probability0 > 0.5 ? 0 : 1, people);
        double probability = chosen == 0 ? probability0 : 1 - probability0;
        return Optional.of(new PairLabel(
                chosen, probability, SmoothedLabel.WinnerBy.isFlipped(chosen, people), 2 * probability - 1));
    }

    /// The calibrated scores of a group: the mean probability with which an image beats each other image of the
    /// group by one reward. The scores of a reward sum to half the number of images; one image alone has ½.
    ///
    /// @param scores scores of the group, `[images][rewards]`
    /// @return `[images][rewards]`, each from 0 to 1
    /// @throws IllegalArgumentException when a score is not finite
    public double[][] calibrated(double[][] scores) {
        Arrays.stream(scores).forEach(this::requireScores);
        double[][] calibrated = new double[scores.length][size()];
        for (int image = 0; image < scores.length; image++) {
            for (int reward = 0; reward < size(); reward++) {
                // An image meets itself, too, which adds ½, so that images of equal scores have the same sum to the
                // bit.
                double sum = 0;
                for (double[] other : scores) {
                    sum += Logistic.sigmoid((scores[image][reward] - other[reward]) / temperatures.get(reward));
                }
                calibrated[image][reward] = scores.length == 1 ? 0.5 : (sum - 0.5) / (scores.length - 1);
            }
        }
        return calibrated;
    }

    /// The scores of a group minus their mean, divided by their population deviation, by reward; 0 where all
    /// images score the same.
    private double[][] standardised(double[][] scores) {
        double[][] standardised = new double[scores.length][size()];
        for (int reward = 0; reward < size(); reward++) {
            int column = reward;
            double[] values =
                    Arrays.stream(scores).mapToDouble(row -> row[column]).toArray();
            double mean = Arrays.stream(values).average().orElse(0);
            double deviation = deviation(values);
            for (int image = 0; image < scores.length; image++) {
                standardised[image][reward] = deviation > 0 ? (values[image] - mean) / deviation : 0;
            }
        }
        return standardised;
    }

    /// One number per image of a group.
    ///
    /// @param scores scores of the group, `[images][rewards]`
    /// @throws IllegalArgumentException when a score is not finite
    public double[] combined(Combination how, double[][] scores) {
        Arrays.stream(scores).forEach(this::requireScores);
        double[][] values = switch (how) {
            case CALIBRATED -> calibrated(scores);
            case STANDARDISED -> standardised(scores);
            case RAW -> scores;
        };
        return Arrays.stream(values)
                .mapToDouble(row -> {
                    double sum = 0;
                    for (int reward = 0; reward < size(); reward++) {
                        double unit = how == Combination.RAW ? temperatures.get(reward) : 1;
                        sum += weights.get(reward) * row[reward] / unit;
                    }
                    return sum;
                })
                .toArray();
    }

    /// The probability that the first of two images is better, as their combined scores say: (1 + lead)/2 for
    /// calibrated ones, for which the lead is a difference of probabilities, and σ(lead) for the others.
    ///
    /// @param lead combined score of the first image minus that of the second
    public static double probability(Combination how, double lead) {
        return switch (how) {
            case CALIBRATED -> (1 + lead) / 2;
            case STANDARDISED, RAW -> Logistic.sigmoid(lead);
        };
    }

    /// A temperature for a reward whose scores are no logits: the median over groups of the population deviation
    /// of the scores within a group, so that typical images of a caption differ by about one logit. It is 1 for a
    /// reward that scores all images of every group the same, since such a reward has no say.
    ///
    /// @param groups scores of one reward by group; groups of one image do not count
    /// @throws IllegalArgumentException when the reward scores all images of most groups the same, but not of all
    public static double typicalTemperature(List<double[]> groups) {
        List<Double> deviations = groups.stream()
                .filter(group -> group.length > 1)
                .map(RewardEnsemble::deviation)
                .sorted()
                .toList();
        if (deviations.isEmpty() || deviations.getLast() == 0) {
            return 1;
        }
        int half = deviations.size() / 2;
        double median = deviations.size() % 2 == 1
                ? deviations.get(half)
                : (deviations.get(half - 1) + deviations.get(half)) / 2;
        if (!(median > 0)) {
            throw new IllegalArgumentException("temperature: expected scores that differ within most groups, found "
                    + "equal ones; give the reward a temperature");
        }
        return median;
    }

    private static double deviation(double[] values) {
        double mean = Arrays.stream(values).average().orElse(0);
        return Math.sqrt(Arrays.stream(values)
                .map(value -> (value - mean) * (value - mean))
                .average()
                .orElse(0));
    }

    private void requireScores(double[] scores) {
        if (scores.length != size()) {
            throw new IllegalArgumentException(
                    "ensemble: expected " + size() + " scores of an image, got " + scores.length);
        }
        for (double score : scores) {
            Require.finite(OWNER, "score", score);
        }
    }
}
