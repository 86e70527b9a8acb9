package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.IntPredicate;
import org.smpo.data.PairSource;
import org.smpo.io.FloatTensor;
import org.smpo.objective.GuardedFit;
import org.smpo.objective.HeadFeatures;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.LogisticFit;

/// Fits a head to the embeddings of a CLIP model and writes it as a reward of kind `head`.
///
/// The pairs of about a fifth of the captions are held out, chosen by a hash of the caption: the head
/// is not fitted to them, and its accuracy is measured on them.
///
/// @param model CLIP model; stays the caller's
/// @param features features that the head reads
/// @param l2 penalty on the head's weights, > 0
public record HeadFit(FeatureModel model, HeadFeatures features, double l2) {
    /// Number of human pairs below which a head says little: it has hundreds of weights or more, and a fifth
    /// of the pairs is held out.
    public static final int FEWEST_PAIRS = 200;

    /// The file of a head that records how it was fitted.
    public static final String RECORD = FittedHead.FILE;

    private static final int HELD_OUT = 0;

    /// A game of gold images against generated ones.
    ///
    /// @param pairs pairs whose better image is the gold one; stays the caller's
    /// @param weight weight in the fit, where the human pairs have 1
    /// @param tolerance accuracy on held-out human pairs that the head may lose
    public record Game(PairSource pairs, double weight, double tolerance) {}

    /// Returns the number of weights of a head.
    ///
    /// @param model CLIP model, which is not loaded
    /// @throws IllegalArgumentException when the model is a reward of another kind
    /// @throws IOException when its config cannot be read
    public static int weights(RewardSource model, HeadFeatures features) throws IOException {
        return features.width(model.clip().width());
    }

    /// Outcome of a fit to pairs.
    ///
    /// @param fit the head and its accuracies
    /// @param fitted number of human pairs that the head was fitted to
    /// @param heldOut number of human pairs held out
    /// @param without number of readable human pairs without a better image
    /// @param bad number of human pairs that cannot be read
    public record PairsOutcome(GuardedFit fit, int fitted, int heldOut, int without, int bad) {}

    /// Outcome of a fit to two sets of images.
    ///
    /// @param fit the head
    /// @param accuracy mean of the shares of held-out images of either set that are told right
    /// @param fitted number of images that the head was fitted to
    /// @param heldOut number of images held out
    public record DomainsOutcome(LogisticFit fit, double accuracy, int fitted, int heldOut) {}

    /// Fits a reward to human pairs, and to a game if there is one: score = cosine/T + v·φ.
    ///
    /// @param temperature T
    /// @param out folder of the head
    /// @throws IllegalArgumentException when there are too few pairs
    /// @throws ArithmeticException when the fit does not converge
    /// @throws IOException when data cannot be read or the head cannot be written
    public PairsOutcome ofPairs(PairSource human, Optional<Game> game, double temperature, Path out)
            throws IOException {
        PairEmbeddings embeddings = model.embed(human);
        GuardedFit.Pairs held =
                pairs(human, embeddings, temperature, row -> embeddings.fold(row) == HELD_OUT, "held-out pairs");
        GuardedFit.Pairs fitted =
                pairs(human, embeddings, temperature, row -> embeddings.fold(row) != HELD_OUT, "pairs to fit to");
        Optional<GuardedFit.Pairs> played = Optional.empty();
        if (game.isPresent()) {
            PairEmbeddings of = model.embed(game.get().pairs());
            // The gold image of a held-out caption is the one that people chose, so the game must not show it.
            played = Optional.of(
                    pairs(game.get().pairs(), of, temperature, row -> of.fold(row) != HELD_OUT, "pairs of the game"));
        }
        GuardedFit fit = GuardedFit.of(
                fitted,
                held,
                played,
                game.map(Game::weight).orElse(0.0),
                l2,
                game.map(Game::tolerance).orElse(0.0));
        int used = fitted.offsets().length + held.offsets().length;
        int bad = embeddings.problems().size();
        Map<String, Object> notes = notes();
        notes.put("pairs", Map.of("data", human.describe(), "fingerprint", human.fingerprint()));
        notes.put("pairs_fitted", (long) fitted.offsets().length);
        notes.put("pairs_held_out", (long) held.offsets().length);
        notes.put("held_out_accuracy", fit.heldOut().accuracy());
        notes.put("held_out_accuracy_without_head", fit.base().accuracy());
        notes.put("norm", fit.fit().norm());
        if (game.isPresent()) {
            PairSource source = game.get().pairs();
            notes.put("game", Map.of("data", source.describe(), "fingerprint", source.fingerprint()));
            notes.put("game_weight", fit.gameWeight());
            notes.put("game_accuracy", fit.game().orElseThrow().accuracy());
        }
        head(fit.fit(), OptionalDouble.of(temperature), notes).write(out);
        return new PairsOutcome(fit, fitted.offsets().length, held.offsets().length, human.size() - bad - used, bad);
    }

    /// Fits a classifier of the images of two sets: score = log-odds that an image is of the target.
    ///
    /// @param out folder of the head
    /// @throws IllegalArgumentException when there are too few pairs
    /// @throws ArithmeticException when the fit does not converge
    /// @throws IOException when data cannot be read or the head cannot be written
    public DomainsOutcome ofDomains(PairSource target, PairSource source, Path out) throws IOException {
        PairEmbeddings first = model.embed(target);
        PairEmbeddings second = model.embed(source);
        double[][] fitFirst = images(target, first, row -> first.fold(row) != HELD_OUT, "images to fit to");
        double[][] fitSecond = images(source, second, row -> second.fold(row) != HELD_OUT, "images to fit to");
        double[][] heldFirst = images(target, first, row -> first.fold(row) == HELD_OUT, "held-out images");
        double[][] heldSecond = images(source, second, row -> second.fold(row) == HELD_OUT, "held-out images");
        LogisticFit fit = LogisticFit.ofClasses(fitFirst, fitSecond, l2);
        double accuracy = (positive(fit, heldFirst) + 1 - positive(fit, heldSecond)) / 2;
        Map<String, Object> notes = notes();
        notes.put("target", Map.of("data", target.describe(), "fingerprint", target.fingerprint()));
        notes.put("source", Map.of("data", source.describe(), "fingerprint", source.fingerprint()));
        notes.put("held_out_accuracy", accuracy);
        head(fit, OptionalDouble.empty(), notes).write(out);
        return new DomainsOutcome(
                fit, accuracy, fitFirst.length + fitSecond.length, heldFirst.length + heldSecond.length);
    }

    private Map<String, Object> notes() {
        Map<String, Object> notes = new LinkedHashMap<>();
        notes.put("l2", l2);
        return notes;
    }

    private FittedHead head(LogisticFit fit, OptionalDouble temperature, Map<String, Object> notes) {
        float[] weights = new float[fit.weights().length];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = (float) fit.weights()[i];
        }
        return new FittedHead(
                model.source(),
                model.digest(),
                features,
                temperature,
                FloatTensor.of(weights, weights.length),
                (float) fit.intercept(),
                notes);
    }

    /// The share of images that a classifier takes for the target's; one of log-odds 0 counts half.
    static double positive(LogisticFit fit, double[][] images) {
        double sum = 0;
        for (double[] image : images) {
            double logit = fit.logit(image);
            sum += logit > 0 ? 1 : logit == 0 ? 0.5 : 0;
        }
        return sum / images.length;
    }

    /// The features of both images of some rows.
    double[][] images(PairSource data, PairEmbeddings embeddings, IntPredicate rows, String what) {
        List<double[]> all = new ArrayList<>();
        for (int row = 0; row < embeddings.size(); row++) {
            if (!embeddings.isBad(row) && rows.test(row)) {
                all.add(embeddings.features(features, row, 0));
                all.add(embeddings.features(features, row, 1));
            }
        }
        requireAny(data, all.size(), what);
        return all.toArray(double[][]::new);
    }

    private GuardedFit.Pairs pairs(
            PairSource data, PairEmbeddings embeddings, double temperature, IntPredicate rows, String what) {
        List<Double> offsets = new ArrayList<>();
        List<double[]> differences = new ArrayList<>();
        for (int row = 0; row < embeddings.size(); row++) {
            HumanChoice choice = data.labels().people(row);
            if (embeddings.isBad(row) || !choice.isDecided() || !rows.test(row)) {
                continue;
            }
            int winner = choice.winner();
            offsets.add((embeddings.cosine(row, winner) - embeddings.cosine(row, 1 - winner)) / temperature);
            double[] difference = embeddings.features(features, row, winner);
            double[] loser = embeddings.features(features, row, 1 - winner);
            for (int i = 0; i < difference.length; i++) {
                difference[i] -= loser[i];
            }
            differences.add(difference);
        }
        requireAny(data, offsets.size(), what);
        return new GuardedFit.Pairs(
                offsets.stream().mapToDouble(Double::doubleValue).toArray(), differences.toArray(double[][]::new));
    }

    private static void requireAny(PairSource data, int count, String what) {
        if (count == 0) {
            throw new IllegalArgumentException(data.describe() + ": expected " + what + ", found none; give more pairs"
                    + " with a better image, of more captions (the pairs of one caption are held out together)");
        }
    }
}
