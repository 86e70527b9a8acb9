package org.smpo.train;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.smpo.ffi.WindowResults;
import org.smpo.io.JsonException;
import org.smpo.io.JsonObject;
import org.smpo.recipe.HealthRecipe;

/// Watches a run for the known ways in which preference tuning goes wrong, and says so in words.
///
/// Winners and losers are looked at separately and against the reference: the loss alone looks well while both get
/// worse, as long as losers do so faster. What is judged is a mean over the last steps; a loss that runs away is
/// judged at once.
final class Health {
    /// Steps whose median is the measure.
    private static final int FIRST_STEPS = 5;

    private final HealthRecipe recipe;
    private final Deque<Sums> recent = new ArrayDeque<>();
    private final List<Double> firstLosses = new ArrayList<>();

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
    List<Warning> step(WindowResults results, double loss, boolean hasReference, double undecided) {
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
        List<Warning> warnings = new ArrayList<>();
        diverging(loss).ifPresent(warnings::add);
        // A mean over a few steps of a few pairs says nothing.
        if (recent.size() == recipe.window()) {
            judge(recent.stream().reduce(Sums::plus).orElseThrow(), hasReference, warnings);
        }
        return warnings;
    }

    private Optional<Warning> diverging(double loss) {
        if (recipe.runawayLoss().isEmpty()) {
            return Optional.empty();
        }
        if (firstLosses.size() < FIRST_STEPS) {
            firstLosses.add(loss);
            return Optional.empty();
        }
        // The very first loss is that of a policy that equals the reference; later ones of few pairs may be nearly 0.
        double median = Math.max(
                firstLosses.getFirst(), firstLosses.stream().sorted().toList().get(FIRST_STEPS / 2));
        // Of the last few steps: one unlucky window is no trend.
        List<Sums> last = recent.stream().skip(Math.max(0, recent.size() - 3)).toList();
        Sums sums = last.stream().reduce(Sums::plus).orElseThrow();
        double mean = sums.loss / sums.pairs;
        if (mean > recipe.runawayLoss().getAsDouble() * Math.max(median, 0.1)) {
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
                            median)));
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
        state.put("first_losses", List.copyOf(firstLosses));
        state.put("recent", recent.stream().map(Sums::json).toList());
        return state;
    }

    /// Goes back to where a checkpoint was.
    void restore(JsonObject state) throws JsonException {
        firstLosses.clear();
        firstLosses.addAll(state.numbers("first_losses"));
        recent.clear();
        for (JsonObject sums : state.objects("recent")) {
            recent.addLast(Sums.read(sums));
        }
    }
}
