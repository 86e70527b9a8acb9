package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import org.smpo.data.Labeler;
import org.smpo.data.LabelledPairs;
import org.smpo.data.PairScores;
import org.smpo.data.PairSource;
import org.smpo.data.PairWeights;
import org.smpo.io.Digest;
import org.smpo.objective.Objective;
import org.smpo.objective.PairInput;
import org.smpo.objective.PairLabel;
import org.smpo.objective.SmoothedLabel;
import org.smpo.recipe.LabelProbability;
import org.smpo.recipe.LabelRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.ScoreRange;
import org.smpo.reward.ScoreTable;

/// The labels and weights of stored pairs, as a recipe asks for them. Immutable.
final class StoredLabels {
    private final LabelRecipe recipe;
    private final boolean readsMargin;
    private final LabelledPairs pairs;
    private final Optional<PairWeights> weights;

    private StoredLabels(Recipe recipe, LabelledPairs pairs, Optional<PairWeights> weights) {
        this.recipe = recipe.labels();
        this.readsMargin = readsMargin(recipe.objective().loss());
        this.pairs = pairs;
        this.weights = weights;
    }

    /// Reads the labels of a source, and the files of scores and weights.
    ///
    /// @param say receiver of lines about the pairs found
    /// @throws IllegalArgumentException when no pair can be trained on, or the range of scores is another reward's
    /// @throws IOException when a file cannot be read or belongs to other data
    static StoredLabels open(Recipe recipe, PairSource source, Consumer<String> say) throws IOException {
        Objective objective = recipe.objective().loss();
        IntFunction<List<PairScores>> scores = scores(recipe, source, say);
        LabelledPairs pairs = new LabelledPairs(
                source.labels(),
                scores,
                labeler(recipe, source, scores).reversedIf(recipe.labels().reversed()),
                readsMargin(objective));
        requireAny(recipe, source, pairs);
        say.accept(source.describe() + ": " + pairs.eligible().length + " pairs to train on or hold out, "
                + pairs.ties() + " ties, " + pairs.unlabelled() + " without a winner, " + pairs.flipped()
                + " whose winner differs from the human choice"
                + (pairs.withoutMargin() > 0 ? ", " + pairs.withoutMargin() + " without scores" : "")
                + (recipe.labels().reversed() ? "; labels.reversed exchanges winner and loser of every pair" : ""));
        Optional<Path> file = recipe.labels().weights();
        return new StoredLabels(
                recipe,
                pairs,
                file.isEmpty() ? Optional.empty() : Optional.of(PairWeights.read(file.get(), source, say)));
    }

    private static boolean readsMargin(Objective objective) {
        return objective.inputs().contains(PairInput.REWARD_MARGIN);
    }

    /// Whether the objective reads a probability that the scores have to give.
    private static boolean smooths(Recipe recipe) {
        return recipe.objective().loss().inputs().contains(PairInput.LABEL)
                && recipe.labels().probability() instanceof LabelProbability.OfScores;
    }

    private static boolean needsScores(Recipe recipe) {
        return smooths(recipe) || recipe.labels().winner() == SmoothedLabel.WinnerBy.REWARD;
    }

    /// The scores of each pair by each reward; empty where one of them has none.
    private static IntFunction<List<PairScores>> scores(Recipe recipe, PairSource source, Consumer<String> say)
            throws IOException {
        if (recipe.labels().scores().isEmpty()) {
            return pair -> source.labels().scores(pair).stream().toList();
        }
        List<ScoreTable> tables = new ArrayList<>();
        for (Path file : recipe.labels().scores()) {
            tables.add(ScoreTable.read(file, source));
        }
        if (smooths(recipe) && recipe.labels().combine().isEmpty()) {
            requireRange(recipe.labels(), tables.getFirst().reward(), say);
        }
        return pair -> {
            List<PairScores> all = tables.stream()
                    .flatMap(table -> table.scores(pair).stream())
                    .toList();
            return all.size() == tables.size() ? all : List.of();
        };
    }

    private static Labeler labeler(Recipe recipe, PairSource source, IntFunction<List<PairScores>> scores) {
        LabelRecipe labels = recipe.labels();
        if (labels.probability() instanceof LabelProbability.OfData(boolean orLabel)) {
            return Labeler.ofData(orLabel);
        }
        boolean needed = needsScores(recipe) || readsMargin(recipe.objective().loss());
        if (labels.combine().isPresent() && needed) {
            return Labeler.combined(labels.combine().get().ensemble(), labels.winner());
        }
        return needsScores(recipe)
                ? Labeler.smoothed(labels.smoothed(LabelledPairs.allScores(source.labels(), scores)))
                : Labeler.ofPeople();
    }

    private static void requireRange(LabelRecipe labels, Optional<String> reward, Consumer<String> say) {
        if (reward.isPresent()) {
            labels.requireFits(reward.get());
        } else if (labels.range() instanceof ScoreRange.Published) {
            say.accept("labels.scores: the file does not name its reward; labels.range: published is the range of "
                    + ScoreRange.PUBLISHED_REWARD + " alone, so set it to data if another reward made the scores");
        }
    }

    private static void requireAny(Recipe recipe, PairSource source, LabelledPairs pairs) {
        if (pairs.eligible().length > 0) {
            return;
        }
        Objective objective = recipe.objective().loss();
        if (readsMargin(objective) && (pairs.withoutMargin() > 0 || needsScores(recipe))) {
            throw new IllegalArgumentException("labels.scores: " + objective.name()
                    + " needs two scores of a pair, and none of the " + source.size()
                    + " pairs has a winner and scores; run smpo score and name its file in labels.scores, or build "
                    + "pairs with smpo data pairs");
        }
        String missing = needsScores(recipe)
                ? "scores (run smpo score, and name its file in labels.scores)"
                : recipe.labels().probability() instanceof LabelProbability.OfData
                        ? "a probability (probability_0 of the data; set labels.probability to none to do without)"
                        : "a label";
        throw new IllegalArgumentException("data.paths: none of the " + source.size() + " pairs can be trained on: "
                + pairs.ties() + " ties, " + pairs.unlabelled() + " without " + missing);
    }

    /// Indices of the pairs that can be trained on, increasing.
    int[] eligible() {
        return pairs.eligible();
    }

    /// Returns the winner of a pair, 0 or 1.
    int winner(int pair) {
        return pairs.label(pair).orElseThrow().winner();
    }

    /// Returns the number that the objective reads of a pair: its margin, or the probability of its winner.
    double number(int pair) {
        PairLabel label = pairs.label(pair).orElseThrow();
        if (readsMargin) {
            return label.margin();
        }
        return recipe.probability() instanceof LabelProbability.Fixed(double value) ? value : label.probability();
    }

    /// Returns the weights of pairs; null when all pairs have the same.
    double[] weights(int[] indices) {
        if (weights.isEmpty()) {
            return null;
        }
        double[] all = new double[indices.length];
        for (int i = 0; i < all.length; i++) {
            all[i] = weights.get().weight(indices[i]);
        }
        return all;
    }

    /// Entries of the run's manifest that identify the files of scores and weights.
    Map<String, Object> identity() throws IOException {
        Map<String, Object> all = new LinkedHashMap<>();
        if (!recipe.scores().isEmpty()) {
            List<String> digests = new ArrayList<>();
            for (Path file : recipe.scores()) {
                digests.add(Digest.sha256(file));
            }
            all.put("scores_sha256", String.join(" ", digests));
        }
        if (recipe.weights().isPresent()) {
            all.put("weights_sha256", Digest.sha256(recipe.weights().get()));
        }
        return all;
    }
}
