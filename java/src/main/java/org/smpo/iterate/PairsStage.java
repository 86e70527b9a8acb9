package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import org.smpo.evaluate.GeneratedPairs;
import org.smpo.evaluate.PairsRequest;
import org.smpo.parallel.Peers;
import org.smpo.recipe.RoundPairsRecipe;
import org.smpo.train.TrainingResult.Ending;

/// Makes preference pairs of a round's images: `smpo data pairs`.
///
/// @param plan settings
/// @param round the round
record PairsStage(IterationPlan plan, RoundFolder round) implements Stage {
    @Override
    public String name() {
        return "round " + round.number() + ": pairs";
    }

    @Override
    public List<String> words() {
        RoundPairsRecipe pairs = plan.recipe().rounds().pairs();
        List<String> words =
                new ArrayList<>(List.of("data", "pairs", round.images().toString()));
        plan.measureTexts().forEach(measure -> words.addAll(List.of("--by", measure)));
        words.addAll(List.of("--select", pairs.select().id()));
        pairs.combine().ifPresent(combine -> words.addAll(List.of("--combine", PairsRequest.id(combine))));
        words.addAll(List.of("--per-prompt", Integer.toString(pairs.perPrompt())));
        words.addAll(List.of("--min-preference", IterationPlan.number(pairs.minPreference())));
        words.addAll(List.of("--seed", Long.toString(plan.seed(round.number()))));
        pairs.judge()
                .ifPresent(judge -> words.addAll(List.of(
                        "--judge",
                        judge,
                        "--loser",
                        pairs.loser().id(),
                        "--judge-timeout",
                        Integer.toString(pairs.judgeTimeout()))));
        words.addAll(List.of("--out", round.pairs().toString()));
        return words;
    }

    @Override
    public boolean isDone() {
        return Files.exists(round.pairs().resolve(GeneratedPairs.LIST));
    }

    @Override
    public Ending run(Peers peers, Iteration.Listener listener) throws IOException, InterruptedException {
        if (peers.world().isFirst()) {
            GeneratedPairs.write(plan.pairs(round), listener::warn);
        }
        return Ending.FINISHED;
    }
}
