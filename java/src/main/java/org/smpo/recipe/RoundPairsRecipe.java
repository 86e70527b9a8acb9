package org.smpo.recipe;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble.Combination;
import org.smpo.objective.TournamentLoser;

/// How the images of a round become pairs. The keys are the options of `smpo data pairs`.
///
/// @param select rule that selects pairs
/// @param by rewards that score the images, `NAME[:TEMPERATURE[:WEIGHT]]` each; empty: all of the
///     round, or none for a tournament
/// @param combine combination of the rewards into one score; absent: raw for one reward, calibrated for
///     several
/// @param perPrompt largest number of pairs per prompt
/// @param minPreference least preference of a pair, from 0 to below 1
/// @param judge judge of a tournament; absent for other rules
/// @param loser image that loses to the champion of a tournament
/// @param judgeTimeout longest time to wait for an answer of a program that judges, in seconds
public record RoundPairsRecipe(
        PairRule select,
        List<String> by,
        Optional<Combination> combine,
        int perPrompt,
        double minPreference,
        Optional<String> judge,
        TournamentLoser loser,
        int judgeTimeout)
        implements Written {
    private static final String COMBINE = "combine";

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public RoundPairsRecipe {
        by = List.copyOf(by);
        boolean tournament = select == PairRule.TOURNAMENT;
        Check.atLeast(1, "per_prompt", perPrompt);
        Check.belowOne("min_preference", minPreference);
        Check.agreement(
                judge.isPresent() == tournament,
                "judge",
                tournament
                        ? "a tournament needs a judge, such as score:NAME or \"command:PROGRAM ARGUMENTS\""
                        : "only a tournament asks a judge; set select to tournament, or this to none");
        Check.atLeast(1, "judge_timeout", judgeTimeout);
    }

    static RoundPairsRecipe read(Section in) throws RecipeException {
        return in.build(() -> new RoundPairsRecipe(
                in.choice("select", PairRule.class, PairRule.BEST_WORST),
                in.texts("by", List.of()),
                in.choiceOrAuto(COMBINE, Combination.class),
                in.small("per_prompt", 1),
                in.number("min_preference", 0),
                in.textOrNone("judge"),
                in.choice("loser", TournamentLoser.class, TournamentLoser.RANDOM),
                in.small("judge_timeout", 120)));
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (combine.isEmpty()) {
            fields.put(COMBINE, new ResolvedText.Word(Section.AUTO));
        }
        return fields;
    }
}
