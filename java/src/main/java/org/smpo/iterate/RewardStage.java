package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.smpo.data.GoldPairs;
import org.smpo.data.PairSource;
import org.smpo.evaluate.Evaluation;
import org.smpo.io.Closer;
import org.smpo.io.Precision;
import org.smpo.parallel.Peers;
import org.smpo.recipe.RewardTrainingRecipe;
import org.smpo.reward.FeatureModel;
import org.smpo.reward.HeadFit;
import org.smpo.reward.PairBar;
import org.smpo.reward.RewardSource;
import org.smpo.train.TrainingResult.Ending;

/// Fits the head of a round's reward: `smpo reward fit`. The head of an earlier round has no part in it.
///
/// @param plan settings
/// @param training how the head is fitted
/// @param round the round
record RewardStage(IterationPlan plan, RewardTrainingRecipe training, RoundFolder round) implements Stage {
    /// Number of pairs that are embedded together. It is fixed, since sums round differently in another batch.
    private static final int BATCH = 8;

    private static final Precision PRECISION = Precision.FP32;

    @Override
    public String name() {
        return "round " + round.number() + ": reward";
    }

    @Override
    public List<String> words() {
        RoundReward reward = plan.rewards().getFirst();
        List<String> words = new ArrayList<>(List.of("reward", "fit", reward.text()));
        words.addAll(List.of("--pairs", training.human().toString()));
        words.addAll(List.of("--generated", round.images().toString()));
        words.addAll(List.of("--game-weight", IterationPlan.number(training.gameWeight())));
        words.addAll(List.of("--guard", IterationPlan.number(training.guard())));
        words.addAll(List.of("--features", training.features().id()));
        words.addAll(List.of("--l2", IterationPlan.number(training.l2())));
        RewardSource source = reward.source();
        if (!source.processor().equals(source.path())) {
            words.addAll(List.of("--processor", source.processor().toString()));
        }
        words.addAll(List.of("--batch", Integer.toString(BATCH)));
        words.addAll(List.of("--max-bad-fraction", IterationPlan.number(maxBadFraction())));
        words.addAll(List.of("--device", plan.generation().device(), "--precision", PRECISION.id()));
        words.addAll(List.of("--threads", Integer.toString(plan.generation().threads())));
        words.addAll(List.of("--out", round.reward().toString()));
        return words;
    }

    private double maxBadFraction() {
        return plan.recipe().training().data().maxBadFraction();
    }

    @Override
    public boolean isDone() {
        return Files.exists(round.reward());
    }

    @Override
    public Ending run(Peers peers, Iteration.Listener listener) throws IOException {
        if (peers.world().isFirst()) {
            fit(listener);
        }
        return Ending.FINISHED;
    }

    private void fit(Iteration.Listener listener) throws IOException {
        RewardSource source = plan.rewards().getFirst().source();
        try (Closer parts = new Closer()) {
            PairBar bar = parts.add(new PairBar(listener.display(), "embed"));
            PairSource human = parts.add(PairSource.open(training.human()));
            PairSource game = parts.add(GoldPairs.of(human, Evaluation.images(round.images())));
            FeatureModel model = parts.add(FeatureModel.open(
                    source,
                    plan.generation().device(),
                    PRECISION,
                    plan.generation().threads(),
                    new FeatureModel.Reading(BATCH, maxBadFraction(), bar)));
            HeadFit.PairsOutcome outcome = new HeadFit(model, training.features(), training.l2())
                    .ofPairs(
                            human,
                            Optional.of(new HeadFit.Game(game, training.gameWeight(), training.guard())),
                            source.kind().published().temperature(),
                            round.reward());
            outcome.fit().warning(training.gameWeight()).ifPresent(listener::warn);
        }
    }
}
