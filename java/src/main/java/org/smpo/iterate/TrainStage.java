package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.util.List;
import org.smpo.io.AtomicFiles;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;
import org.smpo.train.FinishedRun;
import org.smpo.train.Trainer;
import org.smpo.train.TrainingResult;
import org.smpo.train.TrainingResult.Ending;

/// Tunes the model on a round's pairs: `smpo train`.
///
/// @param plan settings
/// @param round the round
record TrainStage(IterationPlan plan, RoundFolder round) implements Stage {
    @Override
    public String name() {
        return "round " + round.number() + ": training";
    }

    @Override
    public List<String> words() {
        return List.of(
                "train", round.recipe().toString(), "--cache", plan.cache().toString());
    }

    @Override
    public boolean isDone() {
        return Files.exists(round.summary());
    }

    @Override
    public Ending run(Peers peers, Iteration.Listener listener) throws IOException, InterruptedException {
        Recipe recipe = plan.training(round);
        PairCounts pairs = PairCounts.read(round.pairs());
        int perStep = recipe.train().pairsPerStep();
        pairs.requireStep(
                round.number(),
                recipe.data().mix().map(mix -> mix.others(perStep)).orElse(perStep));
        boolean first = peers.world().isFirst();
        if (first) {
            AtomicFiles.write(round.recipe(), recipe.resolved());
        }
        boolean resume = peers.tell(FinishedRun.isRun(round.run()));
        try (Trainer trainer = Trainer.open(recipe, resume, plan.cache(), peers, listener)) {
            listener.training(trainer, recipe.train().steps());
            try {
                TrainingResult result = trainer.run();
                if (result.finished() && first) {
                    RoundSummary.of(plan, round, pairs).write(round.summary());
                } else if (!result.finished()) {
                    listener.say(result.describe());
                }
                return result.ending();
            } finally {
                listener.trained();
            }
        }
    }
}
