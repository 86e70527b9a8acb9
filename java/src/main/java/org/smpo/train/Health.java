package org.smpo.train;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.ffi.PairResults;
import org.smpo.io.JsonException;
import org.smpo.io.JsonObject;
import org.smpo.recipe.HealthRecipe;

/// Watches a run for the known ways in which preference tuning goes wrong, and says so in words.
///
/// Winners and losers are looked at separately and against the reference: the loss alone looks well while both get
/// worse, as long as losers do so faster. What is judged is a mean over the last steps; a run that diverges, in its
/// loss or in its errors, is seen within three.
final class Health {
    /// Steps whose median is the measure, where the first one's is not.
    private static final int FIRST_STEPS = 5;

    /// Steps over which a run that diverges is seen: one unlucky window is no trend.
    private static final int LAST_STEPS = 3;

    private final HealthRecipe recipe;
    private final Deque<Sums> recent = new ArrayDeque<>();
    private final List<Double> firstLosses = new ArrayList<>();
    private boolean beganAtReference;

    /// What one step adds up to.
    ///
    /// @param undecided pairs whose label says nearly nothing
    private record Sums(
            double pairs,
            double loss,
            double policyWinner,
            double policyLoser,
            double referenceWinner,
            double referenceLoser,
            double saturated,
            double undecided) {
        Sums plus(Sums other) {
            return new Sums(
                    pairs + other.pairs,
                    loss + other.loss,
                    policyWinner + other.policyWinner,
                    policyLoser + other.policyLoser,
                    referenceWinner + other.referenceWinner,
                    referenceLoser + other.referenceLoser,
                    saturated + other.saturated,
                    undecided + other.undecided);
        }

        Map<String, Object> json() {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("pairs", pairs);
            all.put("loss", loss);
            all.put("policy_winner", policyWinner);
            all.put("policy_loser", policyLoser);
            all.put("reference_winner", referenceWinner);
            all.put("reference_loser", referenceLoser);
            all.put("saturated", saturated);
            all.put("undecided", undecided);
            return all;
        }

        static Sums read(JsonObject json) throws JsonException {
            return new Sums(
                    json.number("pairs"),
                    json.number("loss"),
                    json.number("policy_winner"),
                    json.number("policy_loser"),
                    json.number("reference_winner"),
                    json.number("reference_loser"),
                    json.number("saturated"),
                    json.number("undecided"));
        }
    }

    /// Something to worry about.
    ///
    /// @param kind `winners_worse`, `saturated`, `undecided` or `diverging`
    /// @param fatal whether going on makes no sense whatever the recipe says of warnings
    /// @param message in words: what is happening, and what to try
    record Warning(String kind, boolean fatal, String message) {}

    Health(HealthRecipe recipe) {
        this.recipe = recipe;
    }

    /// Share of the pairs whose smoothed label says nearly nothing.
    ///
    /// @param gamma of SmPO's label; NaN for an objective without one
    static double undecided(double[] label, double gamma, double margin) {
        if (label == null || Double.isNaN(gamma)) {
            return 0;
        }
        double count = 0;
        for (double p : label) {
            count += Math.abs(gamma * (2 * p - 1)) < margin ? 1 : 0;
        }
        return count / label.length;
    }

    /// Takes in a step and says what is wrong, at most one thing of each kind.
    ///
    /// @param hasReference whether the errors of a reference are known
    /// @param undecided share of pairs, see [#undecided]
    List<Warning> step(PairResults results, double loss, boolean hasReference, double undecided) {
        int pairs = results.loss().length;
        double saturated = 0;
        for (double logit : results.logit()) {
            saturated += Math.abs(logit) > recipe.saturatedLogit() ? 1 : 0;
        }
        recent.addLast(new Sums(
                pairs,
                loss * pairs,
                sum(results.policyWinner()),
                sum(results.policyLoser()),
                hasReference ? sum(results.referenceWinner()) : 0,
                hasReference ? sum(results.referenceLoser()) : 0,
                saturated,
                undecided * pairs));
        if (recent.size() > recipe.window()) {
            recent.removeFirst();
        }
        if (firstLosses.isEmpty()) {
            beganAtReference = hasReference && equal(results);
        }
        if (firstLosses.size() < FIRST_STEPS) {
            firstLosses.add(loss);
        }
        List<Warning> warnings = new ArrayList<>();
        diverging(hasReference).ifPresent(warnings::add);
        // A mean over a few steps of a few pairs says nothing.
        if (recent.size() == recipe.window()) {
            judge(recent.stream().reduce(Sums::plus).orElseThrow(), hasReference, warnings);
        }
        return warnings;
    }

    /// Whether the policy still is the reference: but for rounding, in a run of full weights or of new adapters.
    private static boolean equal(PairResults results) {
        for (int i = 0; i < results.loss().length; i++) {
            double winner = results.policyWinner()[i] / results.referenceWinner()[i] - 1;
            double loser = results.policyLoser()[i] / results.referenceLoser()[i] - 1;
            if (!(Math.abs(winner) < 1e-4 && Math.abs(loser) < 1e-4)) {
                return false;
            }
        }
        return true;
    }

    /// What losses are held against; none yet when too few are known.
    private OptionalDouble startingLoss() {
        // A policy that equals the reference has the loss of an undecided objective, log 2 for most; those after it may
        // have run away already. Any other first loss is only that of its few pairs.
        if (beganAtReference) {
            return OptionalDouble.of(firstLosses.getFirst());
        }
        if (firstLosses.size() < FIRST_STEPS) {
            return OptionalDouble.empty();
        }
        return OptionalDouble.of(firstLosses.stream().sorted().toList().get(FIRST_STEPS / 2));
    }

    private Optional<Warning> diverging(boolean hasReference) {
        List<Sums> last =
                recent.stream().skip(Math.max(0, recent.size() - LAST_STEPS)).toList();
        if (last.size() < Math.min(LAST_STEPS, recipe.window())) {
            return Optional.empty();
        }
        Sums sums = last.stream().reduce(Sums::plus).orElseThrow();
        OptionalDouble start = startingLoss();
        double mean = sums.loss / sums.pairs;
        if (recipe.runawayLoss().isPresent()
                && start.isPresent()
                && mean > recipe.runawayLoss().getAsDouble() * Math.max(start.getAsDouble(), 0.1)) {
            return Optional.of(new Warning(
                    "diverging",
                    true,
                    String.format(
                            Locale.ROOT,
                            "the loss runs away: %.4g over the last %d steps, %.4g at the start. The policy moves away "
                                    + "from the reference faster than the objective can hold it; lower the learning "
                                    + "rate (a third is a good next try) or beta",
                            mean,
                            last.size(),
                            start.getAsDouble())));
        }
        if (recipe.runawayError().isPresent()
                && hasReference
                && sums.policyWinner > recipe.runawayError().getAsDouble() * sums.referenceWinner) {
            return Optional.of(new Warning(
                    "diverging",
                    true,
                    String.format(
                            Locale.ROOT,
                            "the model falls apart: its error on winners is %.3g times the reference's over the last "
                                    + "%d steps (on losers %.3g times), however small the loss. Lower the learning rate "
                                    + "(a third is a good next try)",
                            sums.policyWinner / sums.referenceWinner,
                            last.size(),
                            sums.policyLoser / sums.referenceLoser)));
        }
        return Optional.empty();
    }

    private void judge(Sums sums, boolean hasReference, List<Warning> warnings) {
        if (hasReference) {
            double worse = sums.policyWinner / sums.referenceWinner - 1;
            if (worse > recipe.winnerDegradation()) {
                double losers = sums.policyLoser / sums.referenceLoser - 1;
                warnings.add(new Warning(
                        "winners_worse",
                        false,
                        String.format(
                                Locale.ROOT,
                                "winners get worse than under the reference: error %+.1f %% (losers %+.1f %%) over the "
                                        + "last %d steps. The margin grows by pushing losers away, not by learning "
                                        + "winners; lower the learning rate, raise beta, or add a budget "
                                        + "(objective.bcr)",
                                100 * worse,
                                100 * losers,
                                recent.size())));
            }
        }
        double saturated = sums.saturated / sums.pairs;
        if (saturated > recipe.saturatedFraction()) {
            warnings.add(new Warning(
                    "saturated",
                    false,
                    String.format(
                            Locale.ROOT,
                            "the margin is saturated: %.0f %% of the pairs have a logit beyond ±%.3g and teach almost "
                                    + "nothing; lower beta (or gamma), or stop here",
                            100 * saturated,
                            recipe.saturatedLogit())));
        }
        double undecided = sums.undecided / sums.pairs;
        if (undecided > recipe.undecidedFraction()) {
            warnings.add(new Warning(
                    "undecided",
                    false,
                    String.format(
                            Locale.ROOT,
                            "%.0f %% of the pairs are undecided: their smoothed labels lie so close to one half that "
                                    + "they have almost no gradient; check labels.range (try data) and "
                                    + "labels.temperature",
                            100 * undecided)));
        }
    }

    private static double sum(double[] values) {
        double sum = 0;
        for (double value : values) {
            sum += value;
        }
        return sum;
    }

    /// What [#restore] needs.
    Map<String, Object> state() {
        Map<String, Object> state = new LinkedHashMap<>();
        state.put("began_at_reference", beganAtReference);
        state.put("first_losses", List.copyOf(firstLosses));
        state.put("recent", recent.stream().map(Sums::json).toList());
        return state;
    }

    /// Goes back to where a checkpoint was.
    void restore(JsonObject state) throws JsonException {
        beganAtReference = state.bool("began_at_reference");
        firstLosses.clear();
        firstLosses.addAll(state.numbers("first_losses"));
        recent.clear();
        for (JsonObject sums : state.objects("recent")) {
            recent.addLast(Sums.read(sums));
        }
    }
}
