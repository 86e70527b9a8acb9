package org.smpo.recipe;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.objective.SmoothedLabel;

/// Labels of pairs: the winner and its probability.
///
/// @param winner source of the decision
/// @param scores score file of `smpo score`; absent: the scores in the data, if any
/// @param range range of the scores
/// @param temperature temperature of the smoothed label, > 0; 1 as published
/// @param probability probability that the winner is the better image, for all pairs, above ½ and at most 1;
///     absent: from the scores, if the objective needs it
/// @param reversed whether winner and loser are exchanged, so that a run learns to prefer the worse image. Written
///     only when true, so that recipes from before this key keep their text.
public record LabelRecipe(
        Winner winner,
        Optional<Path> scores,
        ScoreRange range,
        double temperature,
        OptionalDouble probability,
        boolean reversed)
        implements Written {
    private static final String REVERSED = "reversed";

    /// Source of the decision.
    public enum Winner {
        /// The label of the data.
        HUMAN,
        /// The higher score.
        REWARD
    }

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public LabelRecipe {
        Check.positive("temperature", temperature);
        if (probability.isPresent()) {
            double p = probability.getAsDouble();
            Check.that(p > 0.5 && p <= 1, "probability", "a number above 0.5, up to 1", p);
            Check.agreement(
                    winner == Winner.HUMAN && scores.isEmpty(),
                    "probability",
                    "a fixed probability leaves scores no say; set labels.winner to human and labels.scores to none, "
                            + "or labels.probability to none");
        }
    }

    static LabelRecipe read(Section in) throws RecipeException {
        return in.build(() -> new LabelRecipe(
                in.choice("winner", Winner.class, Winner.HUMAN),
                in.pathOrNone("scores"),
                in.scoreRange("range", new ScoreRange.Published()),
                in.number("temperature", 1),
                in.numberOrNone("probability", OptionalDouble.empty()),
                in.flag(REVERSED, false)));
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (!reversed) {
            fields.remove(REVERSED);
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
        SmoothedLabel.WinnerBy by =
                winner == Winner.HUMAN ? SmoothedLabel.WinnerBy.HUMAN : SmoothedLabel.WinnerBy.REWARD;
        return switch (range) {
            case ScoreRange.Published() ->
                new SmoothedLabel(SmoothedLabel.PICKSCORE_MINIMUM, SmoothedLabel.PICKSCORE_MAXIMUM, temperature, by);
            case ScoreRange.OfData() -> SmoothedLabel.ofRange(all, temperature, by);
            case ScoreRange.Between(double minimum, double maximum) ->
                new SmoothedLabel(minimum, maximum, temperature, by);
        };
    }
}
