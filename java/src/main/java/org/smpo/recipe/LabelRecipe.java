package org.smpo.recipe;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.objective.SmoothedLabel;
import org.smpo.objective.SmoothedLabel.WinnerBy;

/// Labels of pairs: the winner and its probability. The keys from `combine` on are written only where they are not
/// the default, so that recipes from before them keep their text.
///
/// @param winner source of the decision
/// @param scores score files of `smpo score`, one per reward; empty: the scores in the data, if any
/// @param range range of the scores
/// @param temperature temperature of the smoothed label, > 0; 1 as published
/// @param probability source of the probability that the winner is the better image
/// @param combine how several score files become one label; present if there are several
/// @param reversed whether winner and loser are exchanged, so that a run learns to prefer the worse image
/// @param weights weight file: how strongly each pair is trained on; absent: all the same
public record LabelRecipe(
        WinnerBy winner,
        List<Path> scores,
        ScoreRange range,
        double temperature,
        LabelProbability probability,
        Optional<CombineRecipe> combine,
        boolean reversed,
        Optional<Path> weights)
        implements Written {
    private static final String SCORES = "scores";
    private static final String COMBINE = "combine";
    private static final String REVERSED = "reversed";
    private static final String WEIGHTS = "weights";

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public LabelRecipe {
        scores = List.copyOf(scores);
        Check.positive("temperature", temperature);
        Check.agreement(
                probability instanceof LabelProbability.OfScores || (winner == WinnerBy.HUMAN && scores.isEmpty()),
                "probability",
                "a fixed probability, or the data's, leaves scores no say; set labels.winner to human and "
                        + "labels.scores to none, or labels.probability to none");
        checkCombination(scores, combine, range, temperature);
    }

    private static void checkCombination(
            List<Path> scores, Optional<CombineRecipe> combine, ScoreRange range, double temperature) {
        if (combine.isEmpty()) {
            Check.agreement(
                    scores.size() <= 1,
                    COMBINE,
                    "expected a temperature for each of the " + scores.size()
                            + " files of labels.scores, found none; add combine: {temperatures: [...]}");
            return;
        }
        int temperatures = combine.get().temperatures().size();
        Check.agreement(
                temperatures == scores.size(),
                COMBINE + ".temperatures",
                "expected one for each file of labels.scores (" + scores.size() + "), got " + temperatures);
        Check.agreement(
                range instanceof ScoreRange.Published && temperature == 1,
                COMBINE,
                "it has a temperature for each file, so labels.range and labels.temperature have no say; remove them");
    }

    static LabelRecipe read(Section in) throws RecipeException {
        return in.build(() -> {
            Optional<Section> combine = in.sectionOrNone(COMBINE);
            return new LabelRecipe(
                    in.choice("winner", WinnerBy.class, WinnerBy.HUMAN),
                    in.pathsOrNone(SCORES),
                    ScoreRange.read(in, "range", new ScoreRange.Published()),
                    in.number("temperature", 1),
                    in.labelProbability("probability"),
                    combine.isEmpty() ? Optional.empty() : Optional.of(CombineRecipe.read(combine.get())),
                    in.flag(REVERSED, false),
                    in.pathOrNone(WEIGHTS));
        });
    }

    /// The labels of a recipe that has no such section.
    static LabelRecipe standard() {
        return new LabelRecipe(
                WinnerBy.HUMAN,
                List.of(),
                new ScoreRange.Published(),
                1,
                new LabelProbability.OfScores(),
                Optional.empty(),
                false,
                Optional.empty());
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (scores.size() <= 1) {
            fields.put(SCORES, scores.stream().findFirst());
        }
        if (combine.isEmpty()) {
            fields.remove(COMBINE);
        }
        if (!reversed) {
            fields.remove(REVERSED);
        }
        if (weights.isEmpty()) {
            fields.remove(WEIGHTS);
        }
        return fields;
    }

    /// Checks that the range fits the reward that made a score file.
    ///
    /// @param reward id of the reward's kind, such as `pickscore`
    /// @throws IllegalArgumentException when the range is PickScore's published one and the reward is another
    public void requireFits(String reward) {
        if (range instanceof ScoreRange.Published && !reward.equals(ScoreRange.PUBLISHED_REWARD)) {
            throw new IllegalArgumentException(
                    "labels.range: expected data or [minimum, maximum] for scores of " + reward
                            + ", found published, which is the range of " + ScoreRange.PUBLISHED_REWARD
                            + ": set labels.range to data");
        }
    }

    /// The label as a function of two scores.
    ///
    /// @param all the scores of all images of the data; read for [ScoreRange.OfData] only
    /// @throws IllegalArgumentException when the range is the data's and they have no two different finite
    ///     scores
    public SmoothedLabel smoothed(double[] all) {
        return switch (range) {
            case ScoreRange.Published() ->
                new SmoothedLabel(
                        SmoothedLabel.PICKSCORE_MINIMUM, SmoothedLabel.PICKSCORE_MAXIMUM, temperature, winner);
            case ScoreRange.OfData() -> SmoothedLabel.ofRange(all, temperature, winner);
            case ScoreRange.Between(double minimum, double maximum) ->
                new SmoothedLabel(minimum, maximum, temperature, winner);
        };
    }
}
